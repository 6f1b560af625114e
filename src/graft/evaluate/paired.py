"""Two models on the same images: the paired difference of their accuracies, McNemar's exact test, and a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from graft.errors import WeightsError
from graft.evaluate.intervals import LEVEL, Interval, Resampling, paired_difference

if TYPE_CHECKING:
    from numpy.typing import NDArray

Better = Literal["first", "second", "undecided"]


@dataclass(frozen=True)
class McNemar:
    """McNemar's exact test.

    Attributes:
        first_only: images (or groups) on which the first model does better.
        second_only: those on which the second does.
        p_value: two-sided, in (0, 1]; None where the models are right and wrong together throughout.
        reason: why there is none.
    """

    first_only: int
    second_only: int
    p_value: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Pair:
    """The finding on two models.

    Attributes:
        difference: accuracy of the first minus that of the second, in [-1, 1].
        interval: its paired 95% interval.
        test: McNemar's exact test.
        better: which is better; ``undecided`` unless interval and test both say so.
    """

    difference: float
    interval: Interval
    test: McNemar
    better: Better


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_], units: NDArray[np.intp]) -> McNemar:
    """McNemar's exact test that two models are right equally often, from the images on which only one is right.

    With b images that only the first names rightly and c that only the second does, under the hypothesis b is drawn
    from Binomial(b + c, 1/2), so ``p = min(1, 2 * sum_{i <= min(b, c)} C(b + c, i) / 2^(b + c))``. McNemar, "Note on
    the sampling error of the difference between correlated proportions or percentages", Psychometrika 12, 1947; the
    exact form is the sign test (Fay, "Two-sided exact tests and matching confidence intervals for discrete data", R
    Journal 2, 2010). Images of
    one group are not independent, so b and c count groups, by which model is right on more of the group's images;
    where each image stands alone that is McNemar's test itself.

    Args:
        first: which images the first model names rightly, (n,).
        second: the same of the second model.
        units: int (n,), in 0..u-1: the group of each image.
    """
    from scipy.stats import binomtest

    net = np.bincount(units, weights=first.astype(np.float64) - second.astype(np.float64))
    gained, lost = int((net > 0).sum()), int((net < 0).sum())
    if gained + lost == 0:
        return McNemar(0, 0, None, "there is no image on which only one of them is right, so there is nothing to test")
    return McNemar(gained, lost, float(binomtest(gained, gained + lost, 0.5).pvalue))


def compare_pair(
    labels: NDArray[np.intp], first: NDArray[np.float64], second: NDArray[np.float64], resampling: Resampling
) -> Pair:
    """Which of two models is better on the same images.

    The bootstrap draws only from what was seen, and thinks a handful of images that all agree to be certain; the
    exact test does not. So both must speak: the interval must leave out zero, and p must be below 5%.

    Args:
        labels: int (n,), at least one.
        first: probabilities (n, k) of the first model.
        second: probabilities (n, k) of the second.
        resampling: what the bootstrap draws.
    """
    right, other = first.argmax(axis=1) == labels, second.argmax(axis=1) == labels
    paired = paired_difference(right, other, resampling)
    if paired is None:
        raise ValueError("there are no images")
    difference, interval = paired
    test = mcnemar(right, other, resampling.units)
    significant = test.p_value is not None and test.p_value < 1 - LEVEL
    better: Better = "undecided"
    if significant and interval.low > 0:
        better = "first"
    if significant and interval.high < 0:
        better = "second"
    return Pair(difference, interval, test, better)


def refuse_other_classes(first: Sequence[str], second: Sequence[str], names: tuple[str, str]) -> None:
    """Raise WeightsError, naming the classes, unless both models know the same ones, in any order."""
    parts = [
        f"only {name} knows {', '.join(map(repr, sorted(set(mine) - set(others))))}"
        for name, mine, others in ((names[0], first, second), (names[1], second, first))
        if set(mine) - set(others)
    ]
    if parts:
        raise WeightsError(
            f"the two models know different classes: {'; '.join(parts)}",
            remedy="compare models of the same classes; `graft evaluate` measures each on its own",
        )


def to_json(pair: Pair) -> dict[str, Any]:
    """As `graft compare --json` has it."""
    return {
        "better": pair.better,
        "difference": pair.difference,
        "difference_ci95": pair.interval.pair(),
        "mcnemar": {
            "first_only": pair.test.first_only,
            "second_only": pair.test.second_only,
            "p_value": pair.test.p_value,
            "reason": pair.test.reason,
        },
    }
