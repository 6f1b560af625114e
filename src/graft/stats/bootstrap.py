"""Stratified bootstrap confidence intervals over groups of images, and intervals as values.

A resample is a count for each unit: a group of images that hang together (near duplicates, one patient), or an image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graft.core.determinism import derive_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LEVEL = 0.95
# The two-sided 95% quantile of the standard normal distribution.
Z = 1.959963984540054
# Classes with fewer units than this are one stratum: alone, a class of one image would be the same in every resample.
LEAST_STRATUM = 10
# Draws held at once, so that 10,000 images x 1,000 resamples need 16 MB and not 80.
_DRAWS = 2_000_000


@dataclass(frozen=True)
class Resampling:
    """What is drawn: units and not single images where images hang together.

    Attributes:
        units: int (n,), in 0..u-1: the unit each test image belongs to; all images of a unit are drawn together.
        samples: number of resamples.
        seed: the project's seed; what is derived from it is the same for every figure, so resamples are paired.
        strata: int (u,) or None: units are drawn within their stratum, which keeps its size in every resample.
    """

    units: NDArray[np.intp]
    samples: int
    seed: int
    strata: NDArray[np.intp] | None = None

    @property
    def count(self) -> int:
        """Number of units."""
        return int(self.units.max(initial=-1)) + 1

    def counts(self) -> Iterator[NDArray[np.float64]]:
        """Chunks (b, u): how often each unit is in each resample; every row sums to u."""
        rng = np.random.default_rng(derive_seed(self.seed, "evaluate", "bootstrap"))
        strata = np.zeros(self.count, dtype=np.intp) if self.strata is None else self.strata
        members = [np.flatnonzero(strata == name) for name in np.unique(strata)]
        chunk = max(1, _DRAWS // max(1, self.count))
        for start in range(0, self.samples, chunk):
            rows = min(chunk, self.samples - start)
            drawn = np.concatenate([part[rng.integers(0, len(part), (rows, len(part)))] for part in members], axis=1)
            flat = (drawn + np.arange(rows)[:, None] * self.count).ravel()
            yield np.bincount(flat, minlength=rows * self.count).reshape(rows, self.count).astype(np.float64)

    def distribution(self, statistic: Callable[[Floats], Floats]) -> Floats:
        """What ``statistic`` makes of all resamples: counts of the images (n, b) -> (..., b) gives (..., samples)."""
        return np.concatenate(
            [statistic(np.ascontiguousarray(counts.T)[self.units]) for counts in self.counts()], axis=-1
        )


def strata_of(labels: NDArray[np.intp], units: NDArray[np.intp]) -> NDArray[np.intp]:
    """The stratum of each unit, (u,): its class, so that every resample has each class's images as often as the data.

    A unit of images of several classes is of the commonest of them, the lowest of equals. Classes with fewer than
    ``LEAST_STRATUM`` units are drawn from together.

    Args:
        labels: int (n,).
        units: int (n,), in 0..u-1.
    """
    if len(labels) == 0:
        return np.empty(0, dtype=np.intp)
    classes = int(labels.max()) + 1
    counts = np.bincount(units * classes + labels, minlength=(int(units.max()) + 1) * classes).reshape(-1, classes)
    of_unit = counts.argmax(axis=1)
    few = np.bincount(of_unit, minlength=classes) < LEAST_STRATUM
    return np.where(few[of_unit], classes, of_unit)


@dataclass(frozen=True)
class Interval:
    """A 95% interval and the method that gave it (``bootstrap``, or ``bound`` where nothing varies, among others)."""

    low: float
    high: float
    method: str = "bootstrap"

    def pair(self) -> list[float]:
        """[low, high], as metrics.json has it."""
        return [self.low, self.high]

    @property
    def sign(self) -> int:
        """1 where all of it lies above zero, -1 where all lies below, else 0: what is shown of a difference."""
        return int(self.low > 0) - int(self.high < 0)


def pair_of(interval: Interval | None) -> list[float] | None:
    """[low, high] or null, as metrics.json has it."""
    return None if interval is None else interval.pair()


def percentile(
    values: NDArray[np.float64], low: float, high: float, units: int, biased_at: float | None = None
) -> Interval | None:
    """The percentile interval of a figure's resamples: the 2.5% and 97.5% quantiles.

    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13. Where every resample gives the
    same figure c (all images right, say) its width would be zero, which is no statement about unseen images. Then
    at most ``q = z^2 / (u + z^2)`` of unseen units differ (upper limit of Wilson, JASA 1927, for 0 of u), and as the
    figure lies in [low, high] the interval is ``[c - q (c - low), c + q (high - c)]``. That is exact for means and a
    guide for F1.

    A sum of absolute differences is greater on a sample than on what it was drawn from, and on a resample greater
    again by about as much. Given such a figure, the quantiles are mirrored at it (the basic bootstrap: Davison and
    Hinkley, "Bootstrap Methods and their Application", 1997, section 5.2), kept in the range, and made to hold it.

    Args:
        values: the figure in each resample, (samples,); NaN where it cannot be computed, which is left out.
        low: the figure's least possible value.
        high: the figure's greatest possible value; infinite gives None where nothing varies.
        units: number of units that were resampled.
        biased_at: the figure itself, where it is one of those.

    Returns:
        None where there is none: fewer than half the resamples have the figure, or nothing varies without a bound.
    """
    found = values[np.isfinite(values)]
    if 2 * len(found) < len(values) or len(found) == 0:
        return None
    lower, upper = (float(value) for value in np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    if found.max() - found.min() > 1e-12:
        if biased_at is None:
            return Interval(lower, upper)
        mirrored = float(max(low, 2 * biased_at - upper)), float(min(high, 2 * biased_at - lower))
        return Interval(min(mirrored[0], biased_at), max(mirrored[1], biased_at))
    if math.isinf(low) or math.isinf(high):
        return None
    share = Z**2 / (units + Z**2)
    return Interval(lower - share * (lower - low), upper + share * (high - upper), "bound")
