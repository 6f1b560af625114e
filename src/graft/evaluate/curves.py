"""ROC and precision-recall curves of each class against the rest, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from graft.evaluate.heldout import HeldOut

# Points kept of a curve: what a screen can show, and 100 classes stay under 2 MB.
MOST_POINTS = 200


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
