"""The one table of metrics: what each computes, which way is better, its range, and when it cannot be computed.

Every metric is a function of labels, int (n,), in 0..k-1, and probabilities, float (n, k), whose rows sum to one.
A new metric is one more entry of the table; what it needs is said there too, so that a figure that cannot be
computed is null with a reason, never 0 or NaN. Averages over classes go over the classes that have test images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from graft.errors import DataError
from graft.evaluate.curves import mean_average_precision, mean_roc_auc

if TYPE_CHECKING:
    from numpy.typing import NDArray

Needs = Callable[["NDArray[np.intp]", "NDArray[np.float64]"], str | None]

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Score:
    """A figure, or None and the reason why there is none."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Metric:
    """One line of the table.

    Attributes:
        name: its key in metrics.json.
        function: (labels (n,), probabilities (n, k)) -> figure; called only where ``needs`` has no objection.
        better: which way is better.
        low: least possible value.
        high: greatest possible value, may be infinite.
        meaning: one line for people.
        needs: (labels, probabilities) -> why it cannot be computed, or None.
    """

    name: str
    function: Callable[[NDArray[np.intp], NDArray[np.float64]], float]
    better: Literal["higher", "lower"]
    low: float
    high: float
    meaning: str
    needs: Needs

    def score(self, labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> Score:
        """The figure, or why there is none."""
        reason = "there are no test images" if len(labels) == 0 else self.needs(labels, probabilities)
        return Score(None, reason) if reason else Score(float(self.function(labels, probabilities)))


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


def score_all(
    labels: NDArray[np.intp], probabilities: NDArray[np.float64], names: Sequence[str] | None = None
) -> dict[str, Score]:
    """Every metric of the table, by name, in the table's order. Raises DataError (see check_probabilities)."""
    check_probabilities(labels, probabilities, names)
    return {name: metric.score(labels, probabilities) for name, metric in METRICS.items()}


def expected_calibration_error(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> float:
    """Mean over images of |accuracy - mean confidence| of the image's bin; 15 bins of equal width.

    ``sum_b n_b / n * |acc(b) - conf(b)|`` with the confidence that of the predicted class: Guo et al., "On
    Calibration of Modern Neural Networks", ICML 2017, equation 3. In [0, 1].
    """
    return float(sum(item.count * abs(item.accuracy - item.confidence) for item in bins(labels, probabilities))) / len(
        labels
    )


@dataclass(frozen=True)
class Bin:
    """Images whose confidence lies in (low, high]: how many, their mean confidence, and the share named rightly."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def bins(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> list[Bin]:
    """The bins of the reliability diagram that hold images, in rising confidence."""
    confidence = probabilities.max(axis=1, initial=0.0)
    right = probabilities.argmax(axis=1) == labels
    place = bin_of(probabilities)
    return [
        Bin(
            low=index / CALIBRATION_BINS,
            high=(index + 1) / CALIBRATION_BINS,
            count=int(inside.sum()),
            confidence=float(confidence[inside].mean()),
            accuracy=float(right[inside].mean()),
        )
        for index in range(CALIBRATION_BINS)
        if (inside := place == index).any()
    ]


def bin_of(probabilities: NDArray[np.float64]) -> NDArray[np.intp]:
    """The bin of each image's confidence, (n,), in 0..14: bin b holds confidences in (b / 15, (b + 1) / 15]."""
    confidence = probabilities.max(axis=1, initial=0.0)
    place = np.ceil(confidence * CALIBRATION_BINS).astype(np.intp) - 1
    return np.asarray(np.clip(place, 0, CALIBRATION_BINS - 1), dtype=np.intp)


def _top(count: int) -> Callable[[NDArray[np.intp], NDArray[np.float64]], float]:
    def share(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> float:
        # A stable sort of the negatives breaks ties as argmax does, so that top-1 would be accuracy.
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
        return float((best == labels[:, None]).any(axis=1).mean())

    return share


# Those that selection can be steered by are computed here: it asks for them a thousand times for each candidate, and of
# scikit-learn's functions one call takes 0.5 ms (accuracy) to 17 ms (ROC AUC of ten classes).
def _accuracy(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())


def _macro_f1(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> float:
    right, true, named = _counts(labels, probabilities)
    # F1 = 2 TP / (true + named).
    return float((2 * right / np.maximum(true + named, 1))[true > 0].mean())


def _counts(
    labels: NDArray[np.intp], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """By class, (k,) each: images named rightly, images of the class, images given its name."""
    predicted, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    right, true, named = (
        np.bincount(names, minlength=classes) for names in (labels[predicted == labels], labels, predicted)
    )
    return right, true, named


def _weighted_f1(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> float:
    from sklearn.metrics import f1_score

    predicted, present = probabilities.argmax(axis=1), np.unique(labels)
    return float(f1_score(labels, predicted, labels=present, average="weighted", zero_division=0.0))


def _precision(average: Literal["macro", "weighted"]) -> Callable[[NDArray[np.intp], NDArray[np.float64]], float]:
    def mean(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> float:
        from sklearn.metrics import precision_score

        predicted, present = probabilities.argmax(axis=1), np.unique(labels)
        return float(precision_score(labels, predicted, labels=present, average=average))

    return mean


def _balanced_accuracy(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> float:
    right, true, _ = _counts(labels, probabilities)
    return float((right / np.maximum(true, 1))[true > 0].mean())


def _log_loss(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> float:
    own = probabilities[np.arange(len(labels)), labels]
    # Clipped as scikit-learn's log_loss does.
    return float(-np.log(np.clip(own, np.finfo(np.float64).eps, 1.0)).mean())


def _brier(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> float:
    truth = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities - truth) ** 2).sum(axis=1).mean())


def _kappa(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> float:
    from sklearn.metrics import cohen_kappa_score

    return float(cohen_kappa_score(labels, probabilities.argmax(axis=1)))


def _matthews(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> float:
    from sklearn.metrics import matthews_corrcoef

    return float(matthews_corrcoef(labels, probabilities.argmax(axis=1)))


def _nothing(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> str | None:
    return None


def _two_columns(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> str | None:
    return "the model knows one class only" if probabilities.shape[1] < 2 else None


def _two_labels(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> str | None:
    return "all images are of one class" if len(np.unique(labels)) < 2 else None


def _two_of_both(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> str | None:
    if len(np.unique(probabilities.argmax(axis=1))) < 2:
        return "the model names every test image alike"
    return _two_labels(labels, probabilities)


def _every_name_given(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> str | None:
    """Precision is the share of a name's images that are right: a name never given has none, and no 0 either."""
    never = len(np.setdiff1d(labels, probabilities.argmax(axis=1)))
    if never == 0:
        return None
    return f"{never} {'class was' if never == 1 else 'classes were'} named for no image, so there is no precision"


def _more_classes_than(count: int) -> Needs:
    def needs(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> str | None:
        known = probabilities.shape[1]
        return f"with {known} classes the best {count} hold the right one always" if known <= count else None

    return needs


def _table(*metrics: Metric) -> Mapping[str, Metric]:
    names = [metric.name for metric in metrics]
    if len(set(names)) != len(names):
        raise ValueError(f"a metric is listed twice: {names}")
    return {metric.name: metric for metric in metrics}


METRICS = _table(
    Metric("accuracy", _accuracy, "higher", 0, 1, "share of test images named rightly (weighted recall)", _nothing),
    Metric("macro_f1", _macro_f1, "higher", 0, 1, "mean of the classes' F1: rare classes weigh as much", _nothing),
    Metric(
        "balanced_accuracy", _balanced_accuracy, "higher", 0, 1, "mean of the classes' recall (macro recall)", _nothing
    ),
    Metric("weighted_f1", _weighted_f1, "higher", 0, 1, "mean of the classes' F1, weighted by their images", _nothing),
    Metric(
        "macro_precision",
        _precision("macro"),
        "higher",
        0,
        1,
        "mean of the classes' precision: share of the images given a name that are of that class",
        _every_name_given,
    ),
    Metric(
        "weighted_precision",
        _precision("weighted"),
        "higher",
        0,
        1,
        "mean of the classes' precision, weighted by their images",
        _every_name_given,
    ),
    Metric(
        "roc_auc",
        mean_roc_auc,
        "higher",
        0,
        1,
        "chance that an image of a class gets more of its probability than one of the rest, mean over classes",
        _two_labels,
    ),
    Metric(
        "average_precision",
        mean_average_precision,
        "higher",
        0,
        1,
        "area under precision against recall, mean over classes, each against the rest",
        _two_labels,
    ),
    Metric("log_loss", _log_loss, "lower", 0, math.inf, "mean of -ln(probability of the right class)", _two_columns),
    Metric("brier", _brier, "lower", 0, 2, "mean squared distance of the probabilities from the truth", _nothing),
    Metric(
        "calibration_error",
        expected_calibration_error,
        "lower",
        0,
        1,
        "mean gap between confidence and accuracy, in 15 bins of confidence",
        _nothing,
    ),
    Metric("kappa", _kappa, "higher", -1, 1, "Cohen's kappa: agreement beyond chance", _two_labels),
    Metric("matthews", _matthews, "higher", -1, 1, "Matthews correlation of truth and prediction", _two_of_both),
    Metric("top_3", _top(3), "higher", 0, 1, "right class among the three most likely", _more_classes_than(3)),
    Metric("top_5", _top(5), "higher", 0, 1, "right class among the five most likely", _more_classes_than(5)),
)
