"""How far apart the facts of two sets of images are: small summaries of their distributions, and the distance of two.

One measure serves all facts, so that one threshold does: the largest difference, over a family of events, of the share
of images to which the event happens. It is 0 for equal distributions, 1 for disjoint ones, and needs no bins.

* Numbers (brightness, ...): the events "at most x". This is the two-sample Kolmogorov-Smirnov statistic,
  D = max over x of |F(x) - G(x)|, with F and G the empirical distribution functions [1].
* Categories (class, format, ...): all events. This is the total variation distance, 1/2 * sum of |p_i - q_i| [2].

Small sets differ by chance. A distance counts only above what chance exceeds in at most ``CHANCE`` of cases, where both
sets (n and m images) come from one distribution; with s = sqrt(1/n + 1/m):

* Numbers: s * sqrt(ln(2 / CHANCE) / 2), from Smirnov's limit P(D > s t) <= 2 exp(-2 t^2) [1].
* k categories: s * (sqrt(k - 1) / 2 + sqrt(ln(1 / CHANCE) / 2)). The first term bounds the mean, by Jensen's and
  Cauchy's inequalities; the second is McDiarmid's bound [3], one image changing the distance by 1/n or 1/m at most.

[1] N. Smirnov, Table for estimating the goodness of fit of empirical distributions, Ann. Math. Stat. 19, 1948.
[2] A. Gibbs, F. Su, On choosing and bounding probability metrics, Int. Stat. Rev. 70, 2002.
[3] C. McDiarmid, On the method of bounded differences, Surveys in Combinatorics, 1989.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

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
    """A distribution over categories: images of each, by name."""

    counts: Mapping[str, int]

    @property
    def count(self) -> int:
        """Images in all categories."""
        return sum(self.counts.values())


Distribution = Numbers | Shares


@dataclass(frozen=True)
class Fact:
    """A fact whose distribution is watched.

    Attributes:
        name: for people.
        columns: what it is made from; a table without them is not asked for it.
        of: a table -> its values, a row each.
        kind: how the values are summarised.
        unit: for people.
    """

    name: str
    columns: tuple[str, ...]
    of: Callable[[pd.DataFrame], pd.Series]
    kind: type[Numbers] | type[Shares]
    unit: str = ""


def column_fact(name: str, kind: type[Numbers] | type[Shares], unit: str = "", title: str = "") -> Fact:
    """A fact that is a column of the table as it stands there."""
    return Fact(title or name, (name,), lambda table: table[name], kind, unit)


FACTS = (
    Fact("shorter side", ("width", "height"), lambda table: table[["width", "height"]].min(axis=1), Numbers, " px"),
    Fact("width over height", ("width", "height"), lambda table: table["width"] / table["height"], Numbers),
    column_fact("bytes", Numbers, " bytes", "file size"),
    column_fact("brightness", Numbers),
    column_fact("contrast", Numbers),
    column_fact("sharpness", Numbers),
    column_fact("entropy", Numbers, " bits"),
    column_fact("label", Shares, title="class"),
    column_fact("format", Shares),
    column_fact("mode", Shares),
)


@dataclass(frozen=True)
class Shift:
    """How one fact differs between two sets.

    Attributes:
        fact: its name.
        distance: 0 (same) to 1 (disjoint).
        chance: what chance alone exceeds in ``CHANCE`` of cases.
        found: both distributions in words.
        example: the position in the later table of a usual image of those that are new.
    """

    fact: str
    distance: float
    chance: float
    found: str
    example: int

    @property
    def beyond_chance(self) -> float:
        """The distance, or 0 where chance explains it."""
        return self.distance if self.distance > self.chance else 0.0


def summarise_facts(table: pd.DataFrame, facts: Sequence[Fact] = FACTS) -> dict[str, Distribution]:
    """The distribution of each of ``facts`` that ``table`` (a row per image) has a value of, by the fact's name."""
    kept: dict[str, Distribution] = {}
    for fact in facts:
        if set(fact.columns) <= set(table.columns):
            values = fact.of(table).dropna()
            if len(values):
                kept[fact.name] = _numbers(values) if fact.kind is Numbers else _shares(values)
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
    before: Mapping[str, Distribution], table: pd.DataFrame, facts: Sequence[Fact] = FACTS
) -> tuple[Shift, ...]:
    """How the images of ``table`` differ from a summary of others, for every one of ``facts`` that both have.

    Any two sets will do: new training images against validated ones, or images that were served.
    """
    now = summarise_facts(table, facts)
    return tuple(
        _shift(fact, before[fact.name], now[fact.name], table)
        for fact in facts
        if fact.name in before and fact.name in now and type(before[fact.name]) is type(now[fact.name])
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


def _shift(fact: Fact, before: Distribution, now: Distribution, table: pd.DataFrame) -> Shift:
    values = fact.of(table)
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
        words = f"median {_number(then)}{fact.unit} before, {_number(here)}{fact.unit} now"
        # A usual image of the new ones: the extreme ones would show an outlier.
        example = int(np.nanargmin(np.abs(values.to_numpy(dtype=np.float64, na_value=np.nan) - here)))
    return Shift(fact.name, distance(before, now), chance(before, now), words, example)


def _median(numbers: Numbers) -> float:
    return float(np.median(numbers.points))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
