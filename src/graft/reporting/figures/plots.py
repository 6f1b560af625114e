"""The report's figures, one function each; blue is right or transferred, orange is wrong or from scratch.

Pictures and not Vega charts, because DVC's page of charts loads Vega from a network and is blank without one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.calibration.abstention import coverage_table
from graft.calibration.temperature import uncalibrated
from graft.core.files import write_text
from graft.evaluation.curves import pr_table, roc_table
from graft.metrics.formatting import area
from graft.metrics.outcomes import bins
from graft.reporting.figures.svg import (
    BLUE,
    DIAGONAL,
    GRID,
    INK,
    ORANGE,
    PAPER,
    WIDTH,
    figure,
    in_percent,
    legend,
    short,
    svg,
)

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from graft.evaluation.compare.transfer import TransferComparison
    from graft.evaluation.evaluation import ClassifierEvaluation
    from graft.evaluation.tables import ClassRow
    from graft.metrics.outcomes import Bin

FOLDER = "plots"
MOST_BARS = 30
MOST_NUMBERS = 15
# Cells of mistakes that are drawn, the fullest ones: at 100 classes there can be 9,900, which weigh megabytes.
MOST_CELLS = 1500
# The worst classes, whose curves are drawn; each has its own dashes, so that no colour needs to tell them apart.
MOST_CLASSES = 3
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)))


def draw_all(found: ClassifierEvaluation) -> dict[str, str]:
    """SVGs by name: confusion, classes, reliability, coverage; label_curve, roc and pr where there is such a curve."""
    held_out, p = found.held_out, found.outputs
    trust = found.trusted.trust
    before = uncalibrated(p, trust.temperature.value)
    drawn = {
        "confusion": confusion_svg(held_out.classes, found.confusion),
        "classes": per_class_svg(found.classes),
        "reliability": reliability_svg(
            bins(held_out.labels, p), () if trust.temperature.value == 1 else bins(held_out.labels, before)
        ),
        "coverage": coverage_svg(coverage_table(p, held_out.labels), trust.threshold.confidence),
    }
    points = [point for point in found.curve if point.control is not None]
    if len(points) > 1:
        drawn["label_curve"] = label_curve_svg(points)
    areas = {row.name: row.roc_auc for row in found.classes if row.roc_auc is not None}
    precisions = {row.name: row.average_precision for row in found.classes if row.average_precision is not None}
    if areas:
        roc = curve_svg("roc", roc_table(held_out, p), areas, ("false_positive_rate", "true_positive_rate"))
        drawn |= {"roc": roc, "pr": curve_svg("pr", pr_table(held_out, p), precisions, ("recall", "precision"))}
    return drawn


def write_figures(figures: Mapping[str, str], folder: Path) -> None:
    """Write each as ``plots/<name>.svg``, of the size that it was drawn for: in a page of its own it has no other."""
    for name, text in figures.items():
        write_text(folder / FOLDER / f"{name}.svg", text.replace("<svg ", '<svg width="480" ', 1) + "\n")


def confusion_svg(classes: Sequence[str], counts: NDArray[np.intp]) -> str:
    """Rows true, columns predicted; blue on the diagonal, orange off it, opacity by share of the row."""
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import to_rgba

    k = len(classes)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    squares, colours = [], []
    with figure(WIDTH, WIDTH * 0.92) as (drawn, axes):
        for i, j in _cells(counts):
            # Shares off the diagonal are small; their root keeps one mistake in a hundred visible.
            opacity = float(share[i, j] if i == j else np.sqrt(share[i, j]))
            low, high, top, bottom = j - 0.48, j + 0.48, i - 0.48, i + 0.48
            squares.append([(low, top), (high, top), (high, bottom), (low, bottom)])
            colours.append(to_rgba(BLUE if i == j else ORANGE, max(opacity, 0.08)))
            if k <= MOST_NUMBERS:
                colour = PAPER if opacity > 0.6 else INK
                size = 13 if k <= 4 else 9 if k <= 10 else 7
                axes.text(j, i, f"{counts[i, j]}", ha="center", va="center", color=colour, fontsize=size)
        # One collection: two thousand patches by themselves take seconds.
        axes.add_collection(PolyCollection(squares, facecolors=colours, linewidths=0), autolim=False)
        axes.set(xlim=(-0.5, k - 0.5), ylim=(k - 0.5, -0.5), xlabel="predicted", ylabel="true")
        axes.set_aspect("equal")
        if k <= MOST_BARS:
            names = [short(name, 10) for name in classes]
            axes.set_xticks(range(k), names, rotation=0 if max(map(len, names)) * k < 40 else 90)
            axes.set_yticks(range(k), names)
        axes.tick_params(length=0)
        return svg(drawn, "confusion")


def confusion_caption(counts: NDArray[np.intp]) -> str:
    """How the confusion matrix is read, and what of it is not drawn."""
    text = (
        "Rows are true classes, columns what the model said. Blue is right, orange is wrong; the stronger, the larger "
        "the share of the row."
    )
    if len(counts) > MOST_BARS:
        text += " Classes are numbered from 0, in the order of confusion.csv."
    filled = int((counts > 0).sum() - (np.diag(counts) > 0).sum())
    if filled > MOST_CELLS:
        text += f" Of {filled:,} kinds of mistakes the {MOST_CELLS:,} most frequent are drawn; confusion.csv has all."
    return text


def _cells(counts: NDArray[np.intp]) -> list[tuple[int, int]]:
    """The cells to draw: the filled ones of the diagonal, and the fullest off it."""
    rows, columns = np.nonzero(counts)
    order = np.lexsort((columns, rows, -counts[rows, columns], rows != columns))
    filled = int((np.diag(counts) > 0).sum())
    return [(int(rows[place]), int(columns[place])) for place in order[: filled + MOST_CELLS]]


def per_class_svg(rows: Sequence[ClassRow]) -> str:
    """Recall (blue) and F1 (orange) of each class, or of the worst thirty, worst first."""
    known = [(row.f1, row.name, row.recall) for row in rows if row.recall is not None and row.f1 is not None]
    shown = sorted(known)[:MOST_BARS]
    f1, names, recall = ([item[place] for item in shown] for place in range(3))
    with figure(WIDTH, 0.9 + 0.3 * len(shown)) as (drawn, axes):
        places = np.arange(len(shown))
        axes.hlines(places, 0, 1, color=GRID, linewidth=0.8)
        axes.scatter(recall, places, color=BLUE, s=46, label="recall", zorder=3)
        axes.scatter(f1, places, facecolors=PAPER, edgecolors=ORANGE, marker="D", s=30, label="F1", zorder=4)
        axes.set_yticks(places, [short(str(name), 16) for name in names])
        least = min([*(float(value) for value in recall + f1), 0.8])
        axes.set(xlim=(np.floor(least * 10) / 10 - 0.02, 1.02), ylim=(len(shown) - 0.4, -0.6))
        in_percent(axes.xaxis)
        legend(axes)
        return svg(drawn, "per-class")


def label_curve_svg(curve: Sequence[TransferComparison]) -> str:
    """Accuracy against labels per class, transferred (blue) and from scratch (orange), with 95% intervals."""
    with figure(WIDTH, 3.1) as (drawn, axes):
        for colour, marker, name in ((BLUE, "o", "transferred"), (ORANGE, "s", "from scratch")):
            sides = [(x.labels_per_class, x.transferred if colour == BLUE else x.control) for x in curve]
            known = [(count, side) for count, side in sides if count is not None and side is not None]
            x, y = [count for count, _ in known], np.array([side.accuracy for _, side in known])
            ends = np.array([side.interval.pair() for _, side in known]).T
            # A percentile interval need not hold the figure; the drawn half-widths must not be negative.
            spread = np.maximum([y - ends[0], ends[1] - y], 0)
            axes.errorbar(x, y, spread, color=colour, marker=marker, markersize=6, capsize=3, linewidth=2, label=name)
        counts = [point.labels_per_class for point in curve]
        axes.set_xscale("log")
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.set_xticks([], minor=True)
        axes.set(xlabel="labelled training images per class", ylabel="test accuracy")
        in_percent(axes.yaxis)
        if axes.get_ylim()[1] > 0.9:
            axes.set_ylim(top=1.01)
        axes.grid(axis="y")
        legend(axes)
        return svg(drawn, "label-curve")


def reliability_svg(used: Sequence[Bin], raw: Sequence[Bin] = ()) -> str:
    """Share named rightly against confidence; on the dashed line the model is as sure as it is right.

    Args:
        used: bands of confidence as the model answers.
        raw: the same without its temperature; empty where there is none.
    """
    with figure(WIDTH, 3.6) as (drawn, axes):
        axes.plot([0, 1], [0, 1], **DIAGONAL)
        if raw:
            before = [item.confidence for item in raw], [item.accuracy for item in raw]
            axes.plot(*before, color=ORANGE, linewidth=1.2, marker="D", markersize=4, mfc=PAPER, label="before")
        confidence, accuracy = [item.confidence for item in used], [item.accuracy for item in used]
        axes.vlines(confidence, confidence, accuracy, color=BLUE, linewidth=2, alpha=0.5)
        total = sum(item.count for item in used)
        axes.scatter(confidence, accuracy, s=[18 + 260 * x.count / max(total, 1) for x in used], color=BLUE, zorder=3)
        if raw:
            axes.plot([], [], color=BLUE, marker="o", linewidth=0, label="after calibration")
            legend(axes)
        least = max(0.0, np.floor(min([*confidence, *accuracy, 0.9]) * 10) / 10 - 0.03)
        axes.set(xlabel="confidence", ylabel="named rightly", xlim=(least, 1.03), ylim=(least, 1.03))
        return _finished(drawn, axes, "reliability")


def coverage_svg(table: pd.DataFrame, threshold: float) -> str:
    """Accuracy of what is answered against the share that is; an orange diamond where the model's threshold lies.

    Args:
        table: see :func:`graft.calibration.abstention.coverage_table`; at least one row.
        threshold: the least confidence of a sure answer.
    """
    with figure(WIDTH, 3.6) as (drawn, axes):
        axes.plot(table["coverage"], table["accuracy"], color=BLUE, linewidth=2.2)
        sure = table[table["confidence"] >= threshold].tail(1)
        axes.scatter(sure["coverage"], sure["accuracy"], color=ORANGE, marker="D", s=52, zorder=3)
        least = float(np.floor(min(table["accuracy"].min(), 0.95) * 10) / 10)
        axes.set(xlabel="of the images are answered", ylabel="of the answers are right")
        axes.set(xlim=(-0.01, 1.02), ylim=(max(0.0, least) - 0.01, 1.01))
        return _finished(drawn, axes, "coverage")


def curve_svg(name: str, table: pd.DataFrame, areas: Mapping[str, float], columns: tuple[str, str]) -> str:
    """ROC (``roc``) or precision-recall (``pr``) curves of the few classes that rank worst.

    A hundred curves in one picture tell nothing and weigh megabytes.

    Args:
        name: which of the two.
        table: see :func:`graft.evaluation.curves.roc_table`; at least one class has a curve.
        areas: area under the curve of each class in the table.
        columns: which of its columns is drawn against which.
    """
    x, y = columns
    with figure(WIDTH, 3.9) as (drawn, axes):
        if name == "roc":
            axes.plot([0, 1], [0, 1], **DIAGONAL)
        for shown, dashes in zip(lowest(areas), _DASHES, strict=False):
            part = table[table["class"] == shown]
            label = f"{short(shown, 20)} ({area(areas[shown])})"
            axes.plot(part[x], part[y], color=ORANGE, linewidth=1.6, linestyle=dashes, label=label)
        titles = {
            "roc": ("others taken for the class", "of the class found"),
            "pr": ("of the class found (recall)", "rightly called so (precision)"),
        }[name]
        axes.set(xlabel=titles[0], ylabel=titles[1], xlim=(-0.01, 1.02), ylim=(-0.01, 1.02))
        legend(axes, columns=1)
        return _finished(drawn, axes, name)


def lowest(areas: Mapping[str, float]) -> list[str]:
    """The classes that are drawn, worst first; of two classes one, as the other's curve says the same."""
    return sorted(areas, key=lambda name: (areas[name], name))[: 1 if len(areas) == 2 else MOST_CLASSES]


def _finished(drawn: Any, axes: Any, name: str) -> str:
    in_percent(axes.xaxis, axes.yaxis)
    axes.grid()
    return svg(drawn, name)
