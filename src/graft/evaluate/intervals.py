"""How sure a figure is: seeded bootstrap over test images, whole groups at a time, also paired for two models.

Every figure here is a function of sums over images (right ones, losses, counts per class). A resample is a
count for each unit (a group of images that hang together, or an image), so all resamples of all figures come
from one product ``counts (B, units) @ sums (units, m)``, with the sums sparse: memory stays flat at 100 classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.determinism import derive_seed
from graft.evaluate.metrics import METRICS

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.95
# The two-sided 95% quantile of the standard normal distribution.
Z = 1.959963984540054
HEADLINE = ("accuracy", "macro_f1", "balanced_accuracy", "log_loss")
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

    def totals(self, sums: Any) -> NDArray[np.float64]:
        """Sums per image, (n, m) dense or sparse -> sums over each resample, (samples, m)."""
        from scipy.sparse import csr_array

        n = len(self.units)
        membership = csr_array((np.ones(n), (self.units, np.arange(n))), shape=(self.count, n))
        per_unit = csr_array(membership @ csr_array(sums))
        return np.concatenate([(per_unit.T @ counts.T).T for counts in self.counts()])


@dataclass(frozen=True)
class Interval:
    """A 95% interval and the method that gave it (``bootstrap``, or ``bound`` where nothing varies)."""

    low: float
    high: float
    method: str = "bootstrap"

    def pair(self) -> list[float]:
        """[low, high], as metrics.json has it."""
        return [self.low, self.high]


def percentile(values: NDArray[np.float64], low: float, high: float, units: int) -> Interval | None:
    """The percentile interval of a figure's resamples: the 2.5% and 97.5% quantiles.

    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13. Where every resample gives the
    same figure c (all images right, say) its width would be zero, which is no statement about unseen images. Then
    at most ``q = z^2 / (u + z^2)`` of unseen units differ (upper limit of Wilson, JASA 1927, for 0 of u), and as the
    figure lies in [low, high] the interval is ``[c - q (c - low), c + q (high - c)]``. That is exact for means and a
    guide for F1.

    Args:
        values: the figure in each resample, (samples,).
        low: the figure's least possible value.
        high: the figure's greatest possible value; infinite gives None where nothing varies.
        units: number of units that were resampled.
    """
    lower, upper = (float(value) for value in np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    if values.max() - values.min() > 1e-12:
        return Interval(lower, upper)
    if math.isinf(low) or math.isinf(high):
        return None
    share = Z**2 / (units + Z**2)
    return Interval(lower - share * (lower - low), upper + share * (high - upper), "bound")


def headline_intervals(
    labels: NDArray[np.intp], probabilities: NDArray[np.float64], resampling: Resampling
) -> dict[str, Interval | None]:
    """A 95% interval for each of HEADLINE; None where there is nothing to resample."""
    if resampling.count == 0:
        return dict.fromkeys(HEADLINE)
    totals = resampling.totals(_sums(labels, probabilities))
    classes = probabilities.shape[1]
    return {
        name: percentile(_FINISH[name](totals, classes), METRICS[name].low, METRICS[name].high, resampling.count)
        for name in HEADLINE
    }


def paired_difference(
    first: NDArray[np.bool_], second: NDArray[np.bool_], resampling: Resampling
) -> tuple[float, Interval] | None:
    """Accuracy of the first model minus that of the second on the same images, with its 95% interval.

    The figure of a resample is ``sum(first - second) / images``: both models are read on the same resample, so
    what makes an image easy for both cancels. None where there are no images.

    Args:
        first: which images the first model names rightly, (n,).
        second: the same of the second model.
        resampling: what is drawn.
    """
    if resampling.count == 0:
        return None
    gained = first.astype(np.float64) - second.astype(np.float64)
    totals = resampling.totals(np.stack([np.ones(len(gained)), gained], axis=1))
    interval = percentile(totals[:, 1] / totals[:, 0], -1.0, 1.0, resampling.count)
    assert interval is not None  # its range is finite
    return float(gained.mean()), interval


def _sums(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> Any:
    """Sparse (n, 2 + 3k): one, loss, then for each class whether right, whether true, whether predicted."""
    from scipy.sparse import csr_array, hstack

    n, classes = probabilities.shape
    rows, predicted = np.arange(n), probabilities.argmax(axis=1)
    right = rows[predicted == labels]
    # Clipped as scikit-learn's log_loss does.
    chosen = np.clip(probabilities[rows, labels], np.finfo(np.float64).eps, 1.0)
    plain = csr_array(np.stack([np.ones(n), -np.log(chosen)], axis=1))

    def marks(where: NDArray[np.intp], column: NDArray[np.intp]) -> Any:
        return csr_array((np.ones(len(where)), (where, column)), shape=(n, classes))

    return hstack([plain, marks(right, labels[right]), marks(rows, labels), marks(rows, predicted)], format="csr")


def _per_class(totals: NDArray[np.float64], classes: int) -> tuple[NDArray[np.float64], ...]:
    """(right, true, predicted), each (samples, classes)."""
    right, true, predicted = np.split(totals[:, 2:], 3, axis=1)
    return right, true, predicted


def _accuracy(totals: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    right, _, _ = _per_class(totals, classes)
    return np.asarray(right.sum(axis=1) / totals[:, 0])


def _log_loss(totals: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    return np.asarray(totals[:, 1] / totals[:, 0])


def _macro_f1(totals: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    right, true, predicted = _per_class(totals, classes)
    # F1 = 2 TP / (true + predicted), over the classes that the resample holds.
    return _mean_present(2 * right / np.maximum(true + predicted, 1), true)


def _balanced_accuracy(totals: NDArray[np.float64], classes: int) -> NDArray[np.float64]:
    right, true, _ = _per_class(totals, classes)
    return _mean_present(right / np.maximum(true, 1), true)


def _mean_present(figures: NDArray[np.float64], true: NDArray[np.float64]) -> NDArray[np.float64]:
    present = true > 0
    return np.asarray((figures * present).sum(axis=1) / present.sum(axis=1))


_FINISH: dict[str, Callable[[NDArray[np.float64], int], NDArray[np.float64]]] = {
    "accuracy": _accuracy,
    "macro_f1": _macro_f1,
    "balanced_accuracy": _balanced_accuracy,
    "log_loss": _log_loss,
}
