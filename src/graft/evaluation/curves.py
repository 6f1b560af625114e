"""ROC and precision-recall curves of each class against the rest, as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from graft.evaluation.held_out import HeldOutSet

    Floats = NDArray[np.float64]

# Points kept of a curve: what a screen can show, and 100 classes stay under 2 MB.
MOST_POINTS = 200


def roc_table(held_out: HeldOutSet, probabilities: Floats) -> pd.DataFrame:
    """class, threshold, false_positive_rate, true_positive_rate: falling thresholds, at most 200 points a class.

    The first point of a class has no threshold: there nothing is called so.
    """
    from sklearn.metrics import roc_curve

    parts = []
    for name, truth, scores in _against_the_rest(held_out, probabilities):
        false, true, thresholds = roc_curve(truth, scores)
        parts.append((name, np.where(np.isinf(thresholds), np.nan, thresholds), false, true))
    return _table(parts, "false_positive_rate", "true_positive_rate")


def pr_table(held_out: HeldOutSet, probabilities: Floats) -> pd.DataFrame:
    """class, threshold, recall, precision: rising thresholds, at most 200 points a class; see :func:`roc_table`."""
    from sklearn.metrics import precision_recall_curve

    parts = []
    for name, truth, scores in _against_the_rest(held_out, probabilities):
        # All the points at a recall of 1 would else crowd out the others where it comes to thinning.
        precision, recall, thresholds = precision_recall_curve(truth, scores, drop_intermediate=True)
        parts.append((name, thresholds, recall, precision))
    return _table(parts, "recall", "precision")


def _against_the_rest(held_out: HeldOutSet, probabilities: Floats) -> Iterator[tuple[str, NDArray[np.bool_], Floats]]:
    present = np.flatnonzero(held_out.n_test)
    for label in present if len(present) > 1 else ():
        yield held_out.classes[label], held_out.labels == label, probabilities[:, label]


def _table(parts: list[tuple[str, Floats, Floats, Floats]], x: str, y: str) -> pd.DataFrame:
    """Curves of (class, thresholds, x, y), each thinned evenly with both ends."""
    import pandas as pd

    tables = []
    for name, thresholds, across, up in parts:
        count = len(thresholds)
        kept = np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).round().astype(np.intp))
        tables.append(pd.DataFrame({"class": name, "threshold": thresholds[kept], x: across[kept], y: up[kept]}))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["class", "threshold", x, y])
