"""The mean of all classes' ROC or precision-recall curves: one line for the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

ROC = ("false_positive_rate", "true_positive_rate")
PR = ("recall", "precision")
# Whole percents.
GRID = np.linspace(0, 1, 101)


def mean_curve(table: pd.DataFrame, columns: tuple[str, str]) -> pd.DataFrame:
    """The mean height of the classes' curves at each whole percent, with the columns' own names.

    Args:
        table: curves of the classes, with a column ``class`` (see :func:`graft.evaluate.curves.roc_table`).
        columns: which of its columns is drawn against which: ``ROC`` or ``PR``.

    Returns:
        101 rows; none where no class has a curve.
    """
    import pandas as pd

    x, y = columns
    heights = [on_grid(part[x].to_numpy(), part[y].to_numpy()) for _, part in table.groupby("class", sort=False)]
    if not heights:
        return pd.DataFrame({x: [], y: []})
    return pd.DataFrame({x: GRID, y: np.mean(heights, axis=0)})


def on_grid(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """A curve's height at each whole percent, by straight lines between its points; its greatest where it is steep."""
    order = np.lexsort((y, x))
    x, y = x[order], y[order]
    last = np.flatnonzero(np.append(np.diff(x) > 0, True))
    return np.interp(GRID, x[last], y[last])
