"""What slices, suspects, calibration and coverage come to, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graft.evaluate.slices import LEAST, weakest
from graft.evaluate.wording import counted, interval, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from graft.evaluate.slices import Slice
    from graft.evaluate.suspects import Suspects
    from graft.evaluate.trusted import Trusted


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


def calibration_sentence(found: Trusted) -> str:
    """What the temperature changed on the test images, which it has not seen."""
    card, seen = found.trust.temperature, found.calibration
    if card.reason is not None:
        return f"Its confidence is left as it is: {card.reason}."
    if seen is None:
        return "There are no test images to hold the temperature against."
    between = "" if card.low is None or card.high is None else f" (95%: {card.low:.2f} to {card.high:.2f})"
    was = "too sure of itself" if card.value > 1 else "not sure enough"
    gained = seen.gained_interval
    bounds = "" if gained is None else f" (95%: {signed(-gained.high)} to {signed(-gained.low)})"
    return (
        f"On {_held_out(card.n_fitted)} the network was {was}; its logits are divided by a temperature of "
        f"{card.value:.2f}{between}. On the test images, which had no part in that, the calibration error went from "
        f"{100 * seen.ece_before:.1f} to {100 * seen.ece_after:.1f} percentage points, and log loss "
        f"changed by {signed(-seen.gained)} nats{bounds}. Which class is named does not change."
    )


def coverage_sentence(found: Trusted) -> str:
    """What is left, and how good that is, where the model may say that it is not sure."""
    card = found.trust.threshold
    text = f"An answer of less than {percent(card.confidence)} confidence counts as not sure. "
    if found.coverage.value is None or found.answered.value is None:
        return f"{text}{found.coverage.reason or found.answered.reason}.".replace(". t", ". T", 1)
    text += f"{percent(found.coverage.value)} of the test images are answered, and {percent(found.answered.value)} "
    text += f"of these answers are right (95%: {interval(found.answered.interval)})"
    text += "." if found.unsure.value is None else f"; of the others {percent(found.unsure.value)} would have been."
    if card.reason is not None:
        return f"{text} It is a default: {card.reason}."
    text = f"{text} It was chosen on {_held_out(card.n_fitted)}"
    if card.target is None or card.accuracy_bound is None:
        return f"{text}."
    return (
        f"{text}: on the {card.n_answered:,} of them that are answered the lower 95% bound of the accuracy "
        f"(Clopper-Pearson) is {percent(card.accuracy_bound)}, and {percent(card.target)} were asked for."
    )


def novelty_sentence(found: Trusted) -> str:
    """Whether images like the training images pass for such."""
    card = found.trust.novelty
    if card.distance is None or found.usual.value is None:
        return f"It cannot tell an image that is unlike its training images: {found.usual.reason or card.reason}."
    meant = "most" if card.usual is None else percent(card.usual)
    bounds = "" if found.usual.interval is None else f" (95%: {interval(found.usual.interval)})"
    return (
        "An image is called unlike the training images where its features are farther from theirs than those of "
        f"{meant} of {counted(card.n_fitted, 'training image', 'training images')} are from the others'. As the "
        "network was trained on these, the share of new images of their kind that passes is near to that and not "
        f"exactly that: {percent(found.usual.value)} of the test images pass{bounds}. How many images of something "
        "else are caught was not tested."
    )


def signed(value: float) -> str:
    """``+0.012``, with a true minus."""
    return f"{value:+.3f}".replace("-", "−")


def _held_out(count: int) -> str:
    return counted(count, "held-out training image", "held-out training images")
