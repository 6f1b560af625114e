"""How well probabilities rank: ROC and precision-recall curves of each class against the rest, and their areas."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from graft.evaluate.heldout import HeldOut

# Points kept of a curve: what a screen can show, and 100 classes stay under 2 MB.
MOST_POINTS = 200


@dataclass(frozen=True)
class Ranking:
    """The areas of one class against the rest, in [0, 1]; None where it has no test images, or no others have."""

    roc_auc: float | None
    average_precision: float | None


def rank(labels: NDArray[np.intp], probabilities: NDArray[np.float64], column: int) -> Ranking:
    """Areas of class ``column`` against the rest.

    ROC AUC is the chance that an image of the class gets a greater probability of it than one of the rest, ties counted
    half (Fawcett, "An introduction to ROC analysis", 2006). Average precision is ``sum_i (R_i - R_{i-1}) P_i`` over
    falling thresholds, without interpolation (as scikit-learn has it).
    """
    from sklearn.metrics import roc_auc_score

    truth = labels == column
    if truth.all() or not truth.any():
        return Ranking(None, None)
    scores = probabilities[:, column]
    return Ranking(float(roc_auc_score(truth, scores)), _average_precision(truth, scores))


def mean_roc_auc(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> float:
    """Mean ROC AUC of the classes that have test images, each against the rest; for two classes the binary one.

    By ranks: with R the sum of the ranks of a class's P images among all n by its score, ``(R - P (P + 1) / 2) / (P
    (n - P))`` (Mann and Whitney, "On a test of whether one of two random variables is stochastically larger than the
    other", Annals of Mathematical Statistics 18, 1947). So scores do that are no probabilities.
    """
    from scipy.stats import rankdata

    ranks, areas = rankdata(probabilities, axis=0), []
    for column in np.unique(labels):
        own = labels == column
        count = int(own.sum())
        areas.append((ranks[own, column].sum() - count * (count + 1) / 2) / (count * (len(labels) - count)))
    return float(np.mean(areas))


def mean_average_precision(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> float:
    """Mean average precision of the classes that have test images, each against the rest."""
    return float(np.mean([_average_precision(labels == c, probabilities[:, c]) for c in np.unique(labels)]))


def _average_precision(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    from sklearn.metrics import average_precision_score

    # Its sum can be 1 + 2e-16 where every image of the class is first, and no share is more than 1.
    return min(1.0, float(average_precision_score(truth, scores)))


def roc_table(held_out: HeldOut, probabilities: NDArray[np.float64]) -> pd.DataFrame:
    """class, threshold, false_positive_rate, true_positive_rate: falling thresholds, at most 200 points a class.

    A class without test images, or without others, has no curve and no rows. The first threshold, above every
    probability, is an empty cell.
    """
    import pandas as pd
    from sklearn.metrics import roc_curve

    parts = []
    for name, truth, scores in _against_the_rest(held_out, probabilities):
        false, true, thresholds = roc_curve(truth, scores)
        kept = _thinned(len(thresholds))
        thresholds = np.where(np.isinf(thresholds), np.nan, thresholds)
        parts.append(_part(name, thresholds[kept], false_positive_rate=false[kept], true_positive_rate=true[kept]))
    columns = ["class", "threshold", "false_positive_rate", "true_positive_rate"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def pr_table(held_out: HeldOut, probabilities: NDArray[np.float64]) -> pd.DataFrame:
    """class, threshold, recall, precision: rising thresholds, at most 200 points a class; see :func:`roc_table`."""
    import pandas as pd
    from sklearn.metrics import precision_recall_curve

    parts = []
    for name, truth, scores in _against_the_rest(held_out, probabilities):
        # All the points at a recall of 1 would else crowd out the others where it comes to thinning.
        precision, recall, thresholds = precision_recall_curve(truth, scores, drop_intermediate=True)
        kept = _thinned(len(thresholds))
        parts.append(_part(name, thresholds[kept], recall=recall[kept], precision=precision[kept]))
    columns = ["class", "threshold", "recall", "precision"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _against_the_rest(
    held_out: HeldOut, probabilities: NDArray[np.float64]
) -> list[tuple[str, NDArray[np.bool_], NDArray[np.float64]]]:
    present = np.flatnonzero(held_out.n_test)
    if len(present) < 2:
        return []
    return [(held_out.classes[c], held_out.labels == c, probabilities[:, c]) for c in present]


def _thinned(count: int) -> NDArray[np.intp]:
    """Places of at most MOST_POINTS of ``count`` points, evenly, with both ends."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).round().astype(np.intp))


def _part(name: str, thresholds: NDArray[np.float64], **rates: NDArray[np.float64]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"class": name, "threshold": thresholds, **rates})
