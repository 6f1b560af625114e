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
from typing import TYPE_CHECKING

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


@dataclass(frozen=True)
class Shares:
    """A distribution over categories: samples of each, by name."""

    counts: Mapping[str, int]

    @property
    def count(self) -> int:
        """Samples in all categories."""
        return sum(self.counts.values())


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
                kept[feature.name] = _numbers(values) if feature.kind == "number" else _shares(values)
    return kept


def _numbers(values: pd.Series) -> Numbers:
    points = np.sort(values.to_numpy(dtype=np.float64))
    if len(points) > POINTS:
        # Each stands for an equal share of the images, and is one of their values, so that ties stay ties.
        points = points[((np.arange(POINTS) + 0.5) * len(points) / POINTS).astype(np.int64)]
    return Numbers(len(values), tuple(float(f"{point:.6g}") for point in points))


def _shares(values: pd.Series) -> Shares:
    counts = values.astype(str).value_counts()
    return Shares({str(name): int(counts[name]) for name in sorted(counts.index)})


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


def distance(before: Distribution, now: Distribution) -> float:
    """Kolmogorov-Smirnov distance of numbers, or total variation distance of categories: 0 to 1."""
    if isinstance(before, Numbers) and isinstance(now, Numbers):
        return _largest_gap(before, now)
    if isinstance(before, Shares) and isinstance(now, Shares):
        return sum(abs(change) for change in _changes(before, now).values()) / 2
    raise TypeError("numbers and categories cannot be compared")


def chance(before: Distribution, now: Distribution) -> float:
    """The distance that two sets of these sizes, drawn from one distribution, exceed in at most ``CHANCE`` of cases."""
    spread = math.sqrt(1 / before.count + 1 / now.count)
    if isinstance(before, Shares) and isinstance(now, Shares):
        categories = len(set(before.counts) | set(now.counts))
        return spread * (math.sqrt(categories - 1) / 2 + math.sqrt(math.log(1 / CHANCE) / 2))
    return spread * math.sqrt(math.log(2 / CHANCE) / 2)


def _largest_gap(before: Numbers, now: Numbers) -> float:
    """The largest difference of the distribution functions.

    scipy.stats.ks_2samp gives the same number, but also a p-value that would take the quantiles for the images, and
    it warns where a set holds one image.
    """
    places = np.union1d(now.points, before.points)
    return float(np.abs(_share_up_to(now, places) - _share_up_to(before, places)).max())


def _share_up_to(numbers: Numbers, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The distribution function at ``places``: the share of values that are not above."""
    return np.searchsorted(numbers.points, places, side="right") / len(numbers.points)


def _changes(before: Shares, now: Shares) -> dict[str, float]:
    """By how much the share of each category grew."""
    names = sorted(set(before.counts) | set(now.counts))
    return {name: now.counts.get(name, 0) / now.count - before.counts.get(name, 0) / before.count for name in names}


def _shift(feature: Feature, before: Distribution, now: Distribution, table: pd.DataFrame) -> Shift:
    values = feature.values(table)
    if isinstance(before, Shares) and isinstance(now, Shares):
        changes = _changes(before, now)
        most = sorted(changes, key=lambda name: -abs(changes[name]))[:3]
        words = "; ".join(
            f"{name} {before.counts.get(name, 0) / before.count:.1%} before, "
            f"{now.counts.get(name, 0) / now.count:.1%} now"
            for name in most
        )
        grown = max(changes, key=lambda name: changes[name])
        example = int(np.flatnonzero(values.astype(str) == grown)[0])
    elif isinstance(before, Numbers) and isinstance(now, Numbers):
        then, here = _median(before), _median(now)
        words = f"median {_number(then)}{feature.unit} before, {_number(here)}{feature.unit} now"
        # A typical one: the extreme ones would show an outlier.
        example = int(np.nanargmin(np.abs(values.to_numpy(dtype=np.float64, na_value=np.nan) - here)))
    return Shift(feature.name, distance(before, now), chance(before, now), words, example)


def _median(numbers: Numbers) -> float:
    return float(np.median(numbers.points))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
