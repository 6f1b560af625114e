"""Did transfer help? The verdict from the paired difference against the same network trained from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from graft.evaluate.intervals import Interval, Resampling, headline_intervals, paired_difference

if TYPE_CHECKING:
    from numpy.typing import NDArray

Verdict = Literal["helps", "hurts", "undecided"]

# With fewer the exact two-sided sign test cannot fall under 5% (2 * 0.5**5 = 0.0625), whatever a bootstrap says:
# it draws only from what was seen, and so thinks a handful of images that all agree to be certain.
LEAST_DISAGREEMENTS = 6


@dataclass(frozen=True)
class Estimate:
    """An accuracy, in [0, 1], and its 95% interval."""

    accuracy: float
    interval: Interval


@dataclass(frozen=True)
class Comparison:
    """A transferred model against its control on the same test images.

    Attributes:
        labels_per_class: labels per class that both were trained on; None where it varies between classes.
        verdict: ``helps`` if the whole interval of the difference lies above zero, ``hurts`` if below.
        transferred: the transferred model.
        control: the same network from scratch; None where none was trained.
        difference: accuracy of the transferred model minus that of the control, in [-1, 1].
        interval: the paired 95% interval of the difference.
        reason: why it is undecided, where there is more to say than that the interval holds zero.
    """

    labels_per_class: int | None
    verdict: Verdict
    transferred: Estimate | None
    control: Estimate | None = None
    difference: float | None = None
    interval: Interval | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As metrics.json and label_curve.csv have it."""
        return {
            "verdict": self.verdict,
            "labels_per_class": self.labels_per_class,
            "difference": self.difference,
            "difference_ci95": None if self.interval is None else self.interval.pair(),
            "transfer_accuracy": None if self.transferred is None else self.transferred.accuracy,
            "transfer_accuracy_ci95": None if self.transferred is None else self.transferred.interval.pair(),
            "control_accuracy": None if self.control is None else self.control.accuracy,
            "control_accuracy_ci95": None if self.control is None else self.control.interval.pair(),
            "reason": self.reason,
        }


def verdict_of(interval: Interval) -> Verdict:
    """``helps`` if the lower bound is above zero, ``hurts`` if the upper one is below, else ``undecided``."""
    if interval.low > 0:
        return "helps"
    return "hurts" if interval.high < 0 else "undecided"


def estimate(labels: NDArray[np.intp], probabilities: NDArray[np.float64], resampling: Resampling) -> Estimate | None:
    """Accuracy with its interval; None where there are no images."""
    interval = headline_intervals(labels, probabilities, resampling, ["accuracy"])["accuracy"]
    if interval is None:
        return None
    return Estimate(float((probabilities.argmax(axis=1) == labels).mean()), interval)


def compare(
    labels: NDArray[np.intp],
    transferred: NDArray[np.float64],
    control: NDArray[np.float64] | None,
    resampling: Resampling,
    labels_per_class: int | None = None,
    no_control: str = "no control was trained",
) -> Comparison:
    """The verdict on one pair of models.

    Args:
        labels: int (n,).
        transferred: probabilities (n, k) of the transferred model.
        control: probabilities (n, k) of the same network trained from scratch, or None.
        resampling: what the bootstrap draws.
        labels_per_class: labels per class that both were trained on.
        no_control: the reason to give where ``control`` is None.
    """
    first = estimate(labels, transferred, resampling)
    if control is None:
        return Comparison(labels_per_class, "undecided", first, reason=no_control)
    right = transferred.argmax(axis=1) == labels
    control_right = control.argmax(axis=1) == labels
    paired = paired_difference(right, control_right, resampling)
    if paired is None:
        return Comparison(labels_per_class, "undecided", None, reason="there are no test images")
    difference, interval = paired
    verdict = verdict_of(interval)
    reason: str | None = None
    net = np.bincount(resampling.units, weights=right.astype(float) - control_right.astype(float))
    disagreements = int(np.count_nonzero(net))
    if verdict != "undecided" and disagreements < LEAST_DISAGREEMENTS:
        verdict = "undecided"
        reason = (
            f"the two models differ on {disagreements} independent test images only; fewer than {LEAST_DISAGREEMENTS} "
            "cannot decide at 95%"
        )
    second = estimate(labels, control, resampling)
    return Comparison(labels_per_class, verdict, first, second, difference, interval, reason)


def label_curve(
    labels: NDArray[np.intp],
    pairs: Mapping[int, tuple[NDArray[np.float64], NDArray[np.float64]]],
    resampling: Resampling,
) -> tuple[Comparison, ...]:
    """A comparison for each count of labels per class, fewest first; ``pairs`` holds (transferred, control)."""
    return tuple(
        compare(labels, transferred, control, resampling, count)
        for count, (transferred, control) in sorted(pairs.items())
    )
