"""Every metric of every resample at once, from sums over images; what ranks images is in resampled_ranks.py.

A metric here is a function of sums: right answers, losses, counts per class and per bin of confidence. Row by row it
is the metric of metrics.py on that resample, where that can be computed, and NaN where it cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.evaluate.metrics import CALIBRATION_BINS, bin_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PLAIN = ("images", "log_loss", "brier", "top_3", "top_5")


@dataclass(frozen=True)
class Totals:
    """Sums over the images of each of b resamples.

    Attributes:
        plain: by name, each (b,): number of images, and sums of what is averaged over images.
        right: images named rightly by true class, (b, k).
        true: images by true class, (b, k).
        predicted: images by the name given, (b, k).
        gaps: right answers minus confidence, summed in each bin of confidence, (b, 15).
    """

    plain: Mapping[str, NDArray[np.float64]]
    right: NDArray[np.float64]
    true: NDArray[np.float64]
    predicted: NDArray[np.float64]
    gaps: NDArray[np.float64]

    @classmethod
    def of(cls, sums: NDArray[np.float64], classes: int) -> Totals:
        """From the columns of :func:`image_sums`, (b, 5 + 3k + 15)."""
        plain, per_class, gaps = np.split(sums, [len(_PLAIN), len(_PLAIN) + 3 * classes], axis=1)
        right, true, predicted = np.split(per_class, 3, axis=1)
        return cls(dict(zip(_PLAIN, plain.T, strict=True)), right, true, predicted, gaps)


def image_sums(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> Any:
    """What is summed over images, sparse (n, 5 + 3k + 15); see :class:`Totals`."""
    from scipy.sparse import csr_array, hstack

    n, classes = probabilities.shape
    rows, predicted = np.arange(n), probabilities.argmax(axis=1)
    chosen = probabilities[rows, labels]
    # Clipped as scikit-learn's log_loss does.
    loss = -np.log(np.clip(chosen, np.finfo(np.float64).eps, 1.0))
    # |p - e_y|^2 = |p|^2 - 2 p_y + 1.
    brier = (probabilities**2).sum(axis=1) - 2 * chosen + 1
    # Ties go to the lower index, as in argmax.
    before = np.arange(classes) < labels[:, None]
    rank = ((probabilities > chosen[:, None]) | ((probabilities == chosen[:, None]) & before)).sum(axis=1)
    plain = csr_array(np.stack([np.ones(n), loss, brier, rank < 3, rank < 5], axis=1).astype(np.float64))
    right = rows[predicted == labels]

    def marks(where: NDArray[np.intp], column: NDArray[np.intp]) -> Any:
        return csr_array((np.ones(len(where)), (where, column)), shape=(n, classes))

    gap = (predicted == labels) - probabilities.max(axis=1, initial=0.0)
    gaps = csr_array((gap, (rows, bin_of(probabilities))), shape=(n, CALIBRATION_BINS))
    parts = [plain, marks(right, labels[right]), marks(rows, labels), marks(rows, predicted), gaps]
    return hstack(parts, format="csr")


def _accuracy(totals: Totals) -> NDArray[np.float64]:
    return np.asarray(totals.right.sum(axis=1) / totals.plain["images"])


def _mean(name: str) -> Callable[[Totals], NDArray[np.float64]]:
    return lambda totals: totals.plain[name] / totals.plain["images"]


def _over_classes(figures: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted mean over classes, (b, k) -> (b,); NaN where no class has a weight."""
    with np.errstate(invalid="ignore"):
        return np.asarray((figures * weights).sum(axis=1) / weights.sum(axis=1))


def _f1(totals: Totals) -> NDArray[np.float64]:
    # F1 = 2 TP / (true + predicted).
    return np.asarray(2 * totals.right / np.maximum(totals.true + totals.predicted, 1))


def _present(totals: Totals) -> NDArray[np.float64]:
    return (totals.true > 0).astype(np.float64)


def _macro_f1(totals: Totals) -> NDArray[np.float64]:
    return _over_classes(_f1(totals), _present(totals))


def _weighted_f1(totals: Totals) -> NDArray[np.float64]:
    return _over_classes(_f1(totals), totals.true)


def _balanced_accuracy(totals: Totals) -> NDArray[np.float64]:
    return _over_classes(totals.right / np.maximum(totals.true, 1), _present(totals))


def _macro_precision(totals: Totals) -> NDArray[np.float64]:
    return _precision(totals, _present(totals))


def _weighted_precision(totals: Totals) -> NDArray[np.float64]:
    return _precision(totals, totals.true)


def _precision(totals: Totals, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    # A name that a resample gives to no image has no precision there, and is left out of its mean.
    named = totals.predicted > 0
    return _over_classes(totals.right / np.maximum(totals.predicted, 1), weights * named)


def _kappa(totals: Totals) -> NDArray[np.float64]:
    # (po - pe) / (1 - pe), times n^2.
    n = totals.plain["images"]
    by_chance = (totals.true * totals.predicted).sum(axis=1)
    return _share(n * totals.right.sum(axis=1) - by_chance, n**2 - by_chance)


def _matthews(totals: Totals) -> NDArray[np.float64]:
    # Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient", 2004.
    n = totals.plain["images"]
    above = n * totals.right.sum(axis=1) - (totals.true * totals.predicted).sum(axis=1)
    below = (n**2 - (totals.true**2).sum(axis=1)) * (n**2 - (totals.predicted**2).sum(axis=1))
    return _share(above, np.sqrt(below))


def _calibration_error(totals: Totals) -> NDArray[np.float64]:
    return np.asarray(np.abs(totals.gaps).sum(axis=1) / totals.plain["images"])


def _share(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """The quotient, NaN where it has none."""
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0))


FROM_SUMS: Mapping[str, Callable[[Totals], NDArray[np.float64]]] = {
    "accuracy": _accuracy,
    "macro_f1": _macro_f1,
    "balanced_accuracy": _balanced_accuracy,
    "weighted_f1": _weighted_f1,
    "macro_precision": _macro_precision,
    "weighted_precision": _weighted_precision,
    "log_loss": _mean("log_loss"),
    "brier": _mean("brier"),
    "calibration_error": _calibration_error,
    "kappa": _kappa,
    "matthews": _matthews,
    "top_3": _mean("top_3"),
    "top_5": _mean("top_5"),
}
