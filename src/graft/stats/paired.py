"""Two models on the same images: the one rule for which of them is better, used wherever that is asked.

An exact test on the images that only one of the models names rightly, and the interval that belongs to it: the
interval leaves out zero exactly where p is below 5%, so that figure and verdict cannot contradict each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from graft.core.errors import WeightsError
from graft.stats.bootstrap import LEVEL, Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Better = Literal["first", "second", "undecided"]
_BETTER: dict[int, Better] = {1: "first", -1: "second", 0: "undecided"}

_TAIL = (1 - LEVEL) / 2
# Equally likely values that stand for the distribution of the discordant share.
_QUANTILES = (np.arange(1000) + 0.5) / 1000


@dataclass(frozen=True)
class PairedTest:
    """The finding on two models.

    Attributes:
        difference: accuracy of the first minus that of the second, in [-1, 1].
        interval: its 95% interval, compatible with the test.
        first_only: images (or groups of them) on which the first model does better.
        second_only: those on which the second does.
        p_value: of McNemar's exact test, two-sided, in (0, 1]; None where no image tells the two apart.
    """

    difference: float
    interval: Interval
    first_only: int
    second_only: int
    p_value: float | None

    @property
    def better(self) -> Better:
        """Which of them is better: ``undecided`` where the interval holds zero, which it does unless p is below 5%."""
        return _BETTER[self.interval.sign]

    @property
    def reason(self) -> str | None:
        """Why there is no test, where there is none."""
        nothing = "there is no image on which only one of them is right, so there is nothing to test"
        return nothing if self.p_value is None else None


def compare_pair(
    first: NDArray[np.bool_], second: NDArray[np.bool_], units: NDArray[np.intp], weights: Floats | None = None
) -> PairedTest:
    """Which of two models is right more often, from the images on which only one of them is.

    With b images that only the first names rightly and c that only the second does, of n: if both were right equally
    often, b would be drawn from Binomial(b + c, 1/2), so ``p = min(1, 2 * min(P(X >= b), P(X <= b)))`` (McNemar, "Note
    on the sampling error of the difference between correlated proportions or percentages", Psychometrika 12, 1947, in
    its exact form). The difference is ``T (2 B - 1)`` with T the discordant share and B the first model's share of it.
    Its interval melds the exact limits of both, as distributions: the lower limit is the quantile (1 - 95%) / 2 of
    ``T (2 B - 1)`` with B ~ Beta(b, c + 1) and T ~ Beta(b + c, n - b - c + 1), or Beta(b + c + 1, n - b - c) where
    that is lower, and the upper limit is the same for the models exchanged (Fay and Lumbard, "Confidence intervals for
    difference in proportions for matched pairs compatible with exact McNemar's or sign tests", Statistics in Medicine
    40, 2021). As ``P(B <= 1/2)`` is the one-sided p, it leaves out zero exactly where ``p < 5%``.

    Images of one group are not independent. A group counts by what it adds to the difference, and b, c and n are then
    effective counts: ``m = (sum w)^2 / sum w^2`` of its weights (Kish, "Survey Sampling", 1965; Korn and Graubard,
    "Confidence intervals for proportions with small expected number of positive counts estimated from survey data",
    Survey Methodology 24, 1998). Where each image stands alone, that is the exact test itself.

    Args:
        first: which images the first model names rightly, (n,), at least one image.
        second: the same of the second model.
        units: int (n,), in 0..u-1: the group of each image.
        weights: what an image counts, above zero, (n,), with a mean of one; None: all alike.
    """
    count = len(first)
    each = np.ones(count) if weights is None else weights
    net = np.bincount(units, weights=each * (first.astype(np.float64) - second.astype(np.float64)))
    # Weights that cancel within a group may leave a rounding error.
    net[np.abs(net) < 1e-9] = 0.0
    won, lost, square = net[net > 0].sum(), -net[net < 0].sum(), (net**2).sum()
    scale = (won + lost) / square if square else 1.0
    total = max(count * scale if square else len(net), scale * (won + lost))
    b, c = won * scale, lost * scale
    p = None if square == 0 else float(min(1.0, 2 * min(_share_below(0.5, b, c), _share_below(0.5, c, b))))
    interval = Interval(_lower(b, c, total), -_lower(c, b, total), "exact")
    return PairedTest(float((won - lost) / count), interval, int((net > 0).sum()), int((net < 0).sum()), p)


def _share_below(value: float | Floats, b: float, c: float) -> Any:
    """P(B <= value) of B ~ Beta(b, c + 1), which is 0 throughout for b = 0."""
    from scipy.special import betainc

    inside = np.clip(value, 0.0, 1.0)
    return np.where(np.asarray(value) < 0, 0.0, betainc(b, c + 1, inside) if b > 0 else 1.0)[()]


def _lower(b: float, c: float, n: float) -> float:
    """The lower limit of the difference; that of the models exchanged, with its sign changed, is the upper one."""
    from scipy.optimize import brentq
    from scipy.special import betaincinv

    above = _share_below(0.5, b, c) < _TAIL
    # Beta(x, 0) is 1 throughout.
    after = (b + c, n - b - c + 1) if above else (b + c + 1, max(n - b - c, 1e-9))
    shares = betaincinv(*after, _QUANTILES)

    def excess(limit: float) -> float:
        return float(np.mean(_share_below((1 + limit / shares) / 2, b, c))) - _TAIL

    # Just beyond -1, where nothing lies.
    low, high = (0.0, 1.0) if above else (-1.001, 0.0)
    return max(-1.0, float(brentq(excess, low, high, xtol=1e-12)))


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


def to_json(pair: PairedTest) -> dict[str, Any]:
    """As `graft compare --json` has it."""
    return {
        "better": pair.better,
        "difference": pair.difference,
        "difference_ci95": pair.interval.pair(),
        "mcnemar": {
            "first_only": pair.first_only,
            "second_only": pair.second_only,
            "p_value": pair.p_value,
            "reason": pair.reason,
        },
    }
