"""What slices, suspects, calibration and coverage come to, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graft.evaluate.slices import LEAST, weakest
from graft.evaluate.wording import counted, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graft.evaluate.reliability import Calibration
    from graft.evaluate.result import Evaluation
    from graft.evaluate.slices import Slice
    from graft.evaluate.suspects import Suspects
    from graft.trust.card import Threshold


def slices_sentence(found: Sequence[Slice], accuracy: float) -> str:
    """Which slice is the weakest, and whether chance explains it."""
    compared = sum(item.compared for item in found)
    if not found:
        return "The test images are alike in size, tones and origin, or nothing is known of them: there are no slices."
    item = weakest(tuple(found))
    if item is None:
        return f"No slice has the {LEAST} test images that it takes to compare it with the whole."
    slices = counted(compared, "slice", "slices")
    text = f"The weakest of {slices} is {item.fact}, {item.name}: {_share(item)}; all images together: "
    text += f"{percent(accuracy)}. "
    if not item.weak:
        return text + f"Among {slices} chance alone can do that: no slice is called weak."
    weak = sum(other.weak for other in found)
    more = "" if weak == 1 else f" {weak} slices are weak in this sense."
    return text + f"That is more than chance explains, also after correction for {compared} comparisons.{more}"


def _share(item: Slice) -> str:
    return f"{percent(item.accuracy)} of its {item.n:,} images (95%: {percent(item.low)} to {percent(item.high)})"


def suspects_sentence(suspects: Suspects, shown: int) -> str:
    """How many training labels are doubted."""
    if suspects.reason:
        return f"Labels were not checked: {suspects.reason}."
    judged = counted(suspects.judged, "training image", "training images")
    count = len(suspects.found)
    if count == 0:
        return f"Of {judged}, each judged by models that had not seen it, no label is doubted."
    text = (
        f"Of {judged}, each judged by models that had not seen it, {counted(count, 'label is', 'labels are')} doubted "
        "(confident learning). A doubt is no proof: look, and mend what is wrong before training again."
    )
    rest = count - shown
    return text + (f" The {shown} least believable are shown; suspects.csv lists all." if rest > 0 else "")


def ranking_sentence(curves: int) -> str:
    """What the curves are, and which are drawn."""
    text = "How well the probability of a class tells its images from the rest, at every threshold one could choose. "
    if curves == 2:
        return text + "Of two classes one is drawn: the other tells the same. The number is the area under it."
    return text + "In orange the classes that it ranks worst; the numbers are areas under the curves, 1 at best."


def calibration_sentence(found: Calibration) -> str:
    """What the temperature changed on the test images, which it has not seen."""
    card = found.temperature
    if card.reason is not None:
        return f"No temperature was fitted: {card.reason}."
    between = "" if card.low is None or card.high is None else f" (95%: {card.low:.2f} to {card.high:.2f})"
    was = "too sure of itself" if card.value > 1 else "not sure enough"
    return (
        f"On {counted(card.n_fitted, 'held-out training image', 'held-out training images')} the network was {was}; "
        f"its logits are divided by a temperature of {card.value:.2f}{between}. On the test images, which had no part "
        f"in that, the calibration error went from {100 * found.before:.1f} to {100 * found.after:.1f} percentage "
        "points. Which class is named does not change."
    )


def coverage_sentence(found: Evaluation, threshold: Threshold) -> str:
    """What is left, and how good that is, where the model may say that it is not sure."""
    confidence = found.probabilities.max(axis=1, initial=0.0)
    sure = confidence >= threshold.confidence
    if not len(sure):
        return "There are no test images."
    text = f"An answer of less than {percent(threshold.confidence)} confidence counts as not sure. "
    if not sure.any():
        return f"{text}No answer to a test image is surer than that."
    right = found.probabilities.argmax(axis=1) == found.held_out.labels
    text += f"{percent(float(sure.mean()))} of the test images are answered, and {percent(float(right[sure].mean()))} "
    text += "of these answers are right"
    text += f"; of the others {percent(float(right[~sure].mean()))} would have been." if (~sure).any() else "."
    asked = "" if threshold.target is None else f" (to reach {percent(threshold.target)})"
    images = counted(threshold.n_fitted, "held-out training image", "held-out training images")
    chosen = f" It was chosen on {images}{asked}."
    return text + (chosen if threshold.reason is None else f" It is a default: {threshold.reason}.")


def mean_confidence(found: Evaluation) -> float:
    """Mean probability of what the model says, in [0, 1]."""
    return float(np.mean(found.probabilities.max(axis=1)))
