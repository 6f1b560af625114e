"""Drift: summaries of feature distributions of two sets of samples, and the distance of two.

One measure serves all features, so that one threshold does; it is 0 for equal distributions and 1 for disjoint ones:

* numbers: the two-sample Kolmogorov-Smirnov statistic, D = max over x of |F(x) - G(x)| [1];
* categories: the total variation distance, 1/2 * sum of |p_i - q_i| [2].

A distance counts only above what chance exceeds in at most ``CHANCE`` of cases, where both sets (n and m samples) come
from one distribution; with s = sqrt(1/n + 1/m):

* numbers: s * sqrt(ln(2 / CHANCE) / 2), from Smirnov's limit P(D > s t) <= 2 exp(-2 t^2) [1];
* k categories: s * (sqrt(k - 1) / 2 + sqrt(ln(1 / CHANCE) / 2)): a bound of the mean, and McDiarmid's bound [3].

[1] N. Smirnov, Table for estimating the goodness of fit of empirical distributions, Ann. Math. Stat. 19, 1948.
[2] A. Gibbs, F. Su, On choosing and bounding probability metrics, Int. Stat. Rev. 70, 2002.
[3] C. McDiarmid, On the method of bounded differences, Surveys in Combinatorics, 1989.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.modalities.base import Feature

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

CHANCE = 0.001
# A distribution of more images than this is kept as so many of its quantiles, which moves D by at most 1 / POINTS.
POINTS = 200


@dataclass(frozen=True)
class Numbers:
    """A distribution of numbers: how many there were, and all of them, or ``POINTS`` quantiles, in order."""

    count: int
    points: tuple[float, ...]

    @classmethod
    def of(cls, values: pd.Series) -> Numbers:
        """That of ``values``, none of which is missing."""
        points = np.sort(values.to_numpy(dtype=np.float64))
        if len(points) > POINTS:
            # Each stands for an equal share of the images, and is one of their values, so that ties stay ties.
            points = points[((np.arange(POINTS) + 0.5) * len(points) / POINTS).astype(np.int64)]
        return cls(len(values), tuple(float(f"{point:.6g}") for point in points))

    def distance(self, other: Numbers) -> float:
        """The largest difference of the distribution functions, 0 to 1.

        scipy.stats.ks_2samp gives the same number, but also a p-value that would take the quantiles for the images,
        and it warns where a set holds one image.
        """
        places = np.union1d(self.points, other.points)
        return float(np.abs(self._share_up_to(places) - other._share_up_to(places)).max())

    def chance(self, other: Numbers) -> float:
        """The distance that two sets of these sizes from one distribution exceed in at most ``CHANCE`` of cases."""
        return _spread(self.count, other.count) * math.sqrt(math.log(2 / CHANCE) / 2)

    def change(self, now: Numbers, values: pd.Series, unit: str) -> tuple[str, int]:
        """The change to ``now`` in words, and the position of a typical one of the ``values`` that ``now`` is of."""
        then, here = float(np.median(self.points)), float(np.median(now.points))
        # A typical one: the extreme ones would show an outlier.
        example = int(np.nanargmin(np.abs(values.to_numpy(dtype=np.float64, na_value=np.nan) - here)))
        return f"median {_number(then)}{unit} before, {_number(here)}{unit} now", example

    def _share_up_to(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """The distribution function at ``places``: the share of values that are not above."""
        return np.searchsorted(self.points, places, side="right") / len(self.points)


@dataclass(frozen=True)
class Shares:
    """A distribution over categories: samples of each, by name."""

    counts: Mapping[str, int]

    @classmethod
    def of(cls, values: pd.Series) -> Shares:
        """That of ``values``, none of which is missing."""
        counts = values.astype(str).value_counts()
        return cls({str(name): int(counts[name]) for name in sorted(counts.index)})

    @property
    def count(self) -> int:
        """Samples in all categories."""
        return sum(self.counts.values())

    def distance(self, other: Shares) -> float:
        """The total variation distance, 0 to 1."""
        return sum(abs(change) for change in self._changes(other).values()) / 2

    def chance(self, other: Shares) -> float:
        """The distance that two sets of these sizes from one distribution exceed in at most ``CHANCE`` of cases."""
        categories = len({*self.counts, *other.counts})
        expected = math.sqrt(categories - 1) / 2 + math.sqrt(math.log(1 / CHANCE) / 2)
        return _spread(self.count, other.count) * expected

    def change(self, now: Shares, values: pd.Series, unit: str) -> tuple[str, int]:
        """The change to ``now`` in words, and the position of one of the ``values`` whose category grew most."""
        changes = self._changes(now)
        most = sorted(changes, key=lambda name: -abs(changes[name]))[:3]
        words = "; ".join(f"{name} {self._share(name):.1%} before, {now._share(name):.1%} now" for name in most)
        grown = max(changes, key=lambda name: changes[name])
        return words, int(np.flatnonzero(values.astype(str) == grown)[0])

    def _share(self, name: str) -> float:
        return self.counts.get(name, 0) / self.count

    def _changes(self, now: Shares) -> dict[str, float]:
        """By how much the share of each category grew."""
        return {name: now._share(name) - self._share(name) for name in sorted({*self.counts, *now.counts})}


Distribution = Numbers | Shares


@dataclass(frozen=True)
class Shift:
    """How one feature differs between two sets.

    Attributes:
        feature: its name.
        distance: 0 (same) to 1 (disjoint).
        chance: what chance alone exceeds in ``CHANCE`` of cases.
        found: both distributions in words.
        example: the position in the later table of a typical sample of those that are new.
    """

    feature: str
    distance: float
    chance: float
    found: str
    example: int

    @property
    def beyond_chance(self) -> float:
        """The distance, or 0 where chance explains it."""
        return self.distance if self.distance > self.chance else 0.0


def summarise(table: pd.DataFrame, features: Sequence[Feature]) -> dict[str, Distribution]:
    """The distribution of each of ``features`` that ``table`` (a row per sample) has a value of, by its name."""
    kept: dict[str, Distribution] = {}
    for feature in features:
        if feature.is_in(table):
            values = feature.values(table).dropna()
            if len(values):
                kept[feature.name] = Numbers.of(values) if feature.kind == "number" else Shares.of(values)
    return kept


def measure_drift(
    before: Mapping[str, Distribution], table: pd.DataFrame, features: Sequence[Feature]
) -> tuple[Shift, ...]:
    """How the samples of ``table`` differ from a summary of others, for every one of ``features`` that both have."""
    now = summarise(table, features)
    return tuple(
        _shift(feature, before[feature.name], now[feature.name], table)
        for feature in features
        if feature.name in before and feature.name in now and type(before[feature.name]) is type(now[feature.name])
    )


def _shift(feature: Feature, before: Any, now: Any, table: pd.DataFrame) -> Shift:
    """The shift between two distributions of one kind."""
    words, example = before.change(now, feature.values(table), feature.unit)
    return Shift(feature.name, before.distance(now), before.chance(now), words, example)


def _spread(first: int, second: int) -> float:
    return math.sqrt(1 / first + 1 / second)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
