"""Abstention: the least confidence at which answers are right often enough, and how many are answered then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graft.calibration.fitted_trust import LEAST_CONFIDENCE, Threshold

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

# How sure the bound is that a threshold rests on.
LEVEL = 0.95
MOST_POINTS = 200
# Towards zero, so that the image whose confidence it was is not lost to rounding.
_DECIMALS = 4


def choose_threshold(
    probabilities: NDArray[np.float64], labels: NDArray[np.intp], units: NDArray[np.intp], target: float
) -> Threshold:
    """The smallest confidence from which on answers reach ``target`` with 95% certainty, judged by unseen images.

    Selective classification by the greatest probability with a bound on what is answered: Geifman and El-Yaniv,
    "Selective Classification for Deep Neural Networks", NeurIPS 2017. The lower bound of :func:`accuracy_bound` must
    reach ``target``, and not the accuracy itself: of 40 images the latter does so by luck in most draws.

    Never below 0.5, where the model itself holds its answer for likelier wrong than right. Where no confidence has
    that proof, it is the target itself: calibrated, an answer of that probability is right that often.

    Args:
        probabilities: calibrated, (m, k), of networks that have not seen the images.
        labels: class indices (m).
        units: int (m,): equal for images that hang together.
        target: accuracy of what is answered, in (0, 1].
    """
    confidence, count, right = _cumulated(probabilities, labels)
    bound = accuracy_bound(right, count, _units_among(probabilities, units)[count - 1])
    proven = (bound >= target) & (confidence >= LEAST_CONFIDENCE)
    if not proven.any():
        reason = (
            f"{len(labels)} held-out images prove for no confidence that {target:.1%} of the answers are right, so "
            "confidence must say that"
        )
        return Threshold(max(LEAST_CONFIDENCE, target), target, len(labels), reason)
    last = int(np.flatnonzero(proven)[-1])
    smallest = np.floor(float(confidence[last]) * 10**_DECIMALS) / 10**_DECIMALS
    return Threshold(
        max(LEAST_CONFIDENCE, float(smallest)),
        target,
        len(labels),
        n_answered=int(count[last]),
        accuracy_bound=round(float(bound[last]), _DECIMALS),
        reason=None,
    )


def accuracy_bound(
    right: NDArray[np.integer], count: NDArray[np.integer], units: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Lower 95% bounds of accuracies of which ``right`` of ``count`` answers are seen, each in [0, 1].

    Clopper and Pearson, "The use of confidence or fiducial limits", Biometrika 26, 1934: the quantile of
    ``Beta(r, n - r + 1)`` at 0.05, and 0 where nothing is right. ``n`` is the number of units, and ``r`` its share that
    is right: a hundred images of one thing are no more evidence than one.
    """
    from scipy.stats import beta

    seen = right / count * units
    bound = beta.ppf(1 - LEVEL, np.maximum(seen, np.finfo(np.float64).tiny), units - seen + 1)
    return np.where(right > 0, bound, 0.0)


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


def _units_among(probabilities: NDArray[np.float64], units: NDArray[np.intp]) -> NDArray[np.intp]:
    """How many units the surest 1, 2, ... m answers are of, (m,)."""
    order = np.argsort(-probabilities.max(axis=1, initial=0.0), kind="stable")
    new = np.zeros(len(units), dtype=np.intp)
    new[np.unique(units[order], return_index=True)[1]] = 1
    return np.cumsum(new)
