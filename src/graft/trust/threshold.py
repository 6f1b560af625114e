"""When to say "not sure": the least confidence at which answers are right often enough, and how many are left then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graft.trust.card import LEAST_CONFIDENCE, Threshold

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

# What an accuracy of 95% needs at least to be told from one of 90% by more than a single image.
LEAST_IMAGES = 20
MOST_POINTS = 200
# Towards zero, so that the image whose confidence it was is not lost to rounding.
_DECIMALS = 4


def choose_threshold(probabilities: NDArray[np.float64], labels: NDArray[np.intp], target: float) -> Threshold:
    """The smallest confidence at which the answers of at least that confidence reach ``target`` on held-out images.

    That is selective classification by the greatest probability: Geifman and El-Yaniv, "Selective Classification
    for Deep Neural Networks", NeurIPS 2017. Never below 0.5, where the model itself holds its answer for likelier
    wrong than right. With fewer than 20 held-out images it is 0.5. Where no 20 answers reach the target it is the
    target itself: calibrated, an answer of that probability is right that often.

    Args:
        probabilities: calibrated, (m, k), of a network that has not seen the images.
        labels: class indices (m).
        target: accuracy of what is answered, in (0, 1].
    """
    if len(labels) < LEAST_IMAGES:
        reason = f"{len(labels)} held-out images are too few to choose it on; at least {LEAST_IMAGES} are needed"
        return Threshold(LEAST_CONFIDENCE, target, len(labels), reason)
    confidence, count, right = _cumulated(probabilities, labels)
    reached = (right / count >= target) & (count >= LEAST_IMAGES)
    if not reached.any():
        reason = f"no {LEAST_IMAGES} held-out answers are right in {target:.1%} of cases, so confidence must say that"
        return Threshold(max(LEAST_CONFIDENCE, target), target, len(labels), reason)
    smallest = np.floor(float(confidence[reached].min()) * 10**_DECIMALS) / 10**_DECIMALS
    return Threshold(max(LEAST_CONFIDENCE, float(smallest)), target, len(labels), None)


def coverage_table(probabilities: NDArray[np.float64], labels: NDArray[np.intp]) -> pd.DataFrame:
    """confidence, coverage, accuracy, answered: what is answered at each confidence, and how often that is right.

    Falling confidences, at most 200 rows, the last one at the least confidence of all, where everything is answered.
    """
    import pandas as pd

    confidence, count, right = _cumulated(probabilities, labels)
    kept = np.unique(np.linspace(0, len(count) - 1, min(len(count), MOST_POINTS)).round().astype(np.intp))
    return pd.DataFrame(
        {
            "confidence": confidence[kept],
            "coverage": count[kept] / max(1, len(labels)),
            "accuracy": right[kept] / count[kept],
            "answered": count[kept],
        }
    )


def _cumulated(
    probabilities: NDArray[np.float64], labels: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """Each distinct confidence, falling; how many answers have at least it; how many of those are right."""
    confidence = probabilities.max(axis=1, initial=0.0)
    order = np.argsort(-confidence, kind="stable")
    falling = confidence[order]
    right = np.cumsum((probabilities.argmax(axis=1) == labels)[order])
    last = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)) if len(falling) else np.empty(0, dtype=np.intp)
    return falling[last], last + 1, right[last]
