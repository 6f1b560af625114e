"""The report's ROC, precision-recall and coverage curves: means over classes, and the few classes that rank worst.

A hundred curves in one picture tell nothing and weigh megabytes, so the number of lines is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.evaluate.drawing import BLUE, GRID, INK, MUTED, ORANGE, WIDTH, figure, in_percent, short, svg
from graft.evaluate.mean_curves import PR, ROC, mean_curve
from graft.evaluate.wording import area

if TYPE_CHECKING:
    import pandas as pd

# The worst classes that are drawn; each has its own dashes, so that no colour needs to tell them apart.
MOST_CLASSES = 3
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)))


def roc_svg(table: pd.DataFrame, areas: Mapping[str, float]) -> str:
    """False against true positive rates; on the dashed line ranks say nothing.

    Args:
        table: see :func:`graft.evaluate.curves.roc_table`; at least one class has a curve.
        areas: area under the curve of each class in the table.
    """
    with figure(WIDTH, 3.9) as (drawn, axes):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 4)))
        _lines(axes, table, areas, ROC)
        axes.set(xlabel="others taken for the class", ylabel="of the class found")
        return _finish(drawn, axes, "roc")


def pr_svg(table: pd.DataFrame, areas: Mapping[str, float]) -> str:
    """Recall against precision; see :func:`roc_svg`."""
    with figure(WIDTH, 3.9) as (drawn, axes):
        _lines(axes, table, areas, PR)
        axes.set(xlabel="of the class found (recall)", ylabel="rightly called so (precision)")
        return _finish(drawn, axes, "pr")


def coverage_svg(table: pd.DataFrame, threshold: float) -> str:
    """Accuracy of what is answered against the share that is; an orange diamond where the model's threshold lies.

    Args:
        table: see :func:`graft.trust.threshold.coverage_table`; at least one row.
        threshold: the least confidence of a sure answer.
    """
    with figure(WIDTH, 3.6) as (drawn, axes):
        axes.plot(table["coverage"], table["accuracy"], color=BLUE, linewidth=2.2)
        sure = table[table["confidence"] >= threshold].tail(1)
        axes.scatter(sure["coverage"], sure["accuracy"], color=ORANGE, marker="D", s=52, zorder=3)
        least = float(np.floor(min(table["accuracy"].min(), 0.95) * 10) / 10)
        axes.set(xlabel="of the images are answered", ylabel="of the answers are right")
        axes.set(xlim=(-0.01, 1.02), ylim=(max(0.0, least) - 0.01, 1.01))
        in_percent(axes.xaxis, axes.yaxis)
        axes.grid(color=GRID, linewidth=0.8)
        return svg(drawn, "coverage")


def lowest(areas: Mapping[str, float]) -> list[str]:
    """The classes that are drawn by themselves, worst first; of two classes one, as the other's curve says the same."""
    return sorted(areas, key=lambda name: (areas[name], name))[: 1 if len(areas) == 2 else MOST_CLASSES]


def _lines(axes: Any, table: pd.DataFrame, areas: Mapping[str, float], columns: tuple[str, str]) -> None:
    x, y = columns
    curves = {str(name): (part[x].to_numpy(), part[y].to_numpy()) for name, part in table.groupby("class", sort=False)}
    for name, dashes in zip(lowest(areas), _DASHES, strict=False):
        label = f"{short(name, 20)} ({area(areas[name])})"
        axes.plot(*curves[name], color=ORANGE, linewidth=1.6, linestyle=dashes, label=label)
    if len(curves) > 2:
        mean = mean_curve(table, columns)
        label = f"mean of {len(curves)} classes ({area(float(np.mean(list(areas.values()))))})"
        axes.plot(mean[x], mean[y], color=BLUE, linewidth=2.4, label=label)


def _finish(drawn: Any, axes: Any, name: str) -> str:
    axes.set(xlim=(-0.01, 1.02), ylim=(-0.01, 1.02))
    in_percent(axes.xaxis, axes.yaxis)
    axes.grid(color=GRID, linewidth=0.8)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=1, frameon=False, borderpad=0, labelcolor=INK)
    return svg(drawn, name)
