"""The metrics of classification: to add one, add a row to :data:`METRICS`.

Report, metrics.json, intervals and the model card follow. ``needs`` says when a metric is undefined, so that it is null
with a reason, never 0 or NaN. Averages over classes go over the classes that have images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from graft.core.errors import DataError
from graft.metrics.outcomes import CALIBRATION_BINS, Outcomes, bin_of
from graft.metrics.table import Metric, MetricTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def check_probabilities(
    labels: NDArray[np.intp], probabilities: NDArray[np.float64], names: Sequence[str] | None = None
) -> None:
    """Refuse what no metric is defined for.

    Args:
        labels: class indices (n).
        probabilities: (n, k).
        names: of the images (n), for the message; None: their numbers, counted from 0.

    Raises:
        DataError: shapes that do not fit, values outside [0, 1], or rows that do not sum to one; the first such image
            is named, and how many there are.
    """
    if probabilities.ndim != 2 or len(probabilities) != len(labels):
        raise DataError(f"probabilities of shape {probabilities.shape} do not fit {len(labels)} labels")
    if len(labels) and not 0 <= labels.min() <= labels.max() < probabilities.shape[1]:
        raise DataError(f"labels must lie between 0 and {probabilities.shape[1] - 1}")
    sums = probabilities.sum(axis=1)
    # `~` of what holds, and no list of what does not: NaN compares false either way and must be refused.
    bad = ~(((probabilities >= 0) & (probabilities <= 1)).all(axis=1) & (np.abs(sums - 1) <= 1e-6))
    if bad.any():
        first = int(np.flatnonzero(bad)[0])
        row = probabilities[first]
        raise DataError(
            "the model's probabilities are not probabilities: each must lie in [0, 1] and a row must sum to one; "
            f"{int(bad.sum())} of {len(bad)} rows do not, the first sums to {sums[first]:.6g} "
            f"with values from {row.min():.6g} to {row.max():.6g}",
            where=f"image {first}" if names is None else names[first],
            remedy="train the model again; its outputs are not finite or are not normalised",
        )


def _calibration_error(found: Outcomes) -> Floats:
    # sum_b n_b / n * |acc(b) - conf(b)|: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eq. 3.
    confidence = found.probabilities.max(axis=1, initial=0.0)
    gap = (found.predicted == found.labels) - confidence
    gaps = found.sums(bin_of(confidence), CALIBRATION_BINS, np.arange(len(gap)), gap)
    return np.asarray(np.abs(gaps).sum(axis=0) / found.images)


def log_losses(found: Outcomes) -> Floats:
    """-ln(probability of the right class) of each image, (n,), clipped as scikit-learn's log_loss does."""
    return np.asarray(-np.log(np.clip(found.of_label, np.finfo(np.float64).eps, 1.0)))


def _brier(found: Outcomes) -> Floats:
    # |p - e_y|^2 = |p|^2 - 2 p_y + 1.
    return found.mean((found.probabilities**2).sum(axis=1) - 2 * found.of_label + 1)


def _top(count: int) -> Callable[[Outcomes], Floats]:
    def share(found: Outcomes) -> Floats:
        own, p = found.of_label[:, None], found.probabilities
        # Ties go to the lower index, as in argmax.
        before = (p == own) & (np.arange(found.classes) < found.labels[:, None])
        return found.mean(((p > own) | before).sum(axis=1) < count)

    return share


def _over_classes(figures: Floats, weights: Floats) -> Floats:
    """Weighted mean over classes, (k, b) -> (b,); NaN where no class has a weight."""
    with np.errstate(invalid="ignore"):
        return np.asarray((figures * weights).sum(axis=0) / weights.sum(axis=0))


def _present(found: Outcomes) -> Floats:
    return (found.true > 0).astype(np.float64)


def _f1(found: Outcomes) -> Floats:
    # F1 = 2 TP / (true + predicted).
    return np.asarray(2 * found.correct / np.maximum(found.true + found.named, 1))


def _precision(found: Outcomes, weights: Floats) -> Floats:
    # A class that a resample predicts for no image has no precision there, and is left out of its mean.
    return _over_classes(found.correct / np.maximum(found.named, 1), weights * (found.named > 0))


def _kappa(found: Outcomes) -> Floats:
    # (po - pe) / (1 - pe), times n^2.
    chance = (found.true * found.named).sum(axis=0)
    return _ratio(found.images * found.correct.sum(axis=0) - chance, found.images**2 - chance)


def _matthews(found: Outcomes) -> Floats:
    # Gorodkin, "Comparing two K-category assignments by a K-category correlation coefficient", 2004.
    n = found.images
    above = n * found.correct.sum(axis=0) - (found.true * found.named).sum(axis=0)
    below = (n**2 - (found.true**2).sum(axis=0)) * (n**2 - (found.named**2).sum(axis=0))
    return _ratio(above, np.sqrt(below))


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.asarray(np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0))


def _mean_area(areas: Floats) -> Floats:
    """Mean over the classes that have an area, (classes, b) -> (b,)."""
    return _over_classes(np.nan_to_num(areas), np.isfinite(areas).astype(np.float64))


def _two_columns(found: Outcomes) -> str | None:
    return "the model knows one class only" if found.classes < 2 else None


def _two_labels(found: Outcomes) -> str | None:
    return "all images are of one class" if len(np.unique(found.labels)) < 2 else None


def _two_of_both(found: Outcomes) -> str | None:
    if len(np.unique(found.predicted)) < 2:
        return "the model names every test image alike"
    return _two_labels(found)


def _every_class_named(found: Outcomes) -> str | None:
    """Precision is the share of the images given a name that are right: a name never given has none, and no 0."""
    never = len(np.setdiff1d(found.labels, found.predicted))
    if never == 0:
        return None
    return f"{never} {'class was' if never == 1 else 'classes were'} named for no image, so there is no precision"


def _more_classes_than(count: int) -> Callable[[Outcomes], str | None]:
    def needs(found: Outcomes) -> str | None:
        always = f"with {found.classes} classes the best {count} hold the right one always"
        return always if found.classes <= count else None

    return needs


METRICS: MetricTable[Outcomes] = MetricTable(
    Outcomes,
    Metric(
        "accuracy",
        lambda found: found.correct.sum(axis=0) / found.images,
        "share of test images named rightly (weighted recall)",
        unit="share",
        is_criterion=True,
    ),
    Metric(
        "macro_f1",
        lambda found: _over_classes(_f1(found), _present(found)),
        "mean of the classes' F1: rare classes weigh as much",
        unit="share",
        is_criterion=True,
    ),
    Metric(
        "balanced_accuracy",
        lambda found: _over_classes(found.correct / np.maximum(found.true, 1), _present(found)),
        "mean of the classes' recall (macro recall)",
        unit="share",
        is_criterion=True,
    ),
    Metric(
        "weighted_f1",
        lambda found: _over_classes(_f1(found), found.true),
        "mean of the classes' F1, weighted by their images",
        unit="share",
    ),
    Metric(
        "macro_precision",
        lambda found: _precision(found, _present(found)),
        "mean of the classes' precision: share of the images given a name that are of that class",
        needs=_every_class_named,
        unit="share",
    ),
    Metric(
        "weighted_precision",
        lambda found: _precision(found, found.true),
        "mean of the classes' precision, weighted by their images",
        needs=_every_class_named,
        unit="share",
    ),
    Metric(
        "roc_auc",
        lambda found: _mean_area(found.areas[0]),
        "chance that an image of a class gets more of its probability than one of the rest, mean over classes",
        needs=_two_labels,
        unit="area",
        is_criterion=True,
    ),
    Metric(
        "average_precision",
        lambda found: _mean_area(found.areas[1]),
        "area under precision against recall, mean over classes, each against the rest",
        needs=_two_labels,
        unit="area",
    ),
    Metric(
        "log_loss",
        lambda found: found.mean(log_losses(found)),
        "mean of -ln(probability of the right class)",
        "lower",
        0,
        math.inf,
        needs=_two_columns,
        unit="nats",
        is_criterion=True,
        needs_probabilities=True,
    ),
    Metric("brier", _brier, "mean squared distance of the probabilities from the truth", "lower", 0, 2),
    Metric(
        "calibration_error",
        _calibration_error,
        "mean gap between confidence and accuracy, in 15 bins of confidence",
        "lower",
        biased=True,
    ),
    Metric("kappa", _kappa, "Cohen's kappa: agreement beyond chance", low=-1, needs=_two_labels),
    Metric("matthews", _matthews, "Matthews correlation of truth and prediction", low=-1, needs=_two_of_both),
    Metric("top_3", _top(3), "right class among the three most likely", needs=_more_classes_than(3), unit="share"),
    Metric("top_5", _top(5), "right class among the five most likely", needs=_more_classes_than(5), unit="share"),
)
