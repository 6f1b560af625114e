"""The report's pictures of mistakes, classes, labels and confidence.

What is blue is right or transferred, what is orange is wrong or from scratch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from graft.evaluate.drawing import (
    BLUE,
    GRID,
    INK,
    MUTED,
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
    from numpy.typing import NDArray

    from graft.evaluate.metrics import Bin
    from graft.evaluate.tables import ClassRow
    from graft.evaluate.transfer import Comparison, Estimate

MOST_BARS = 30
MOST_NUMBERS = 15
# Cells of mistakes that are drawn, the fullest ones: at 100 classes there can be 9,900, which weigh megabytes.
MOST_CELLS = 1500


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
            squares.append(_square(i, j))
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
            slant = 0 if max(map(len, names)) * k < 40 else 90
            axes.set_xticks(range(k), names, rotation=slant)
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


def per_class_svg(rows: Sequence[ClassRow]) -> str:
    """Recall (blue) and F1 (orange) of each class, or of the worst thirty, worst first."""
    shown = [row for row in rows if row.recall is not None and row.f1 is not None]
    shown = sorted(shown, key=lambda row: (row.f1, row.name))[:MOST_BARS]
    with figure(WIDTH, 0.9 + 0.3 * len(shown)) as (drawn, axes):
        places = np.arange(len(shown))
        recall, f1 = [row.recall for row in shown], [row.f1 for row in shown]
        axes.hlines(places, 0, 1, color=GRID, linewidth=0.8)
        axes.scatter(recall, places, color=BLUE, s=46, label="recall", zorder=3)
        axes.scatter(f1, places, facecolors=PAPER, edgecolors=ORANGE, marker="D", s=30, label="F1", zorder=4)
        axes.set_yticks(places, [short(row.name, 16) for row in shown])
        least = min([*(value for value in recall + f1 if value is not None), 0.8])
        axes.set(xlim=(np.floor(least * 10) / 10 - 0.02, 1.02), ylim=(len(shown) - 0.4, -0.6))
        in_percent(axes.xaxis)
        legend(axes)
        return svg(drawn, "per-class")


def label_curve_svg(curve: Sequence[Comparison]) -> str:
    """Accuracy against labels per class, transferred (blue) and from scratch (orange), with 95% intervals."""
    with figure(WIDTH, 3.1) as (drawn, axes):
        for colour, marker, name in ((BLUE, "o", "transferred"), (ORANGE, "s", "from scratch")):
            points = [(point.labels_per_class, _side(point, name)) for point in curve]
            known = [(count, side) for count, side in points if count is not None and side is not None]
            x, y = [count for count, _ in known], np.array([side.accuracy for _, side in known])
            low = np.array([side.interval.low for _, side in known])
            high = np.array([side.interval.high for _, side in known])
            # A percentile interval need not hold the figure; the drawn half-widths must not be negative.
            spread = np.maximum([y - low, high - y], 0)
            axes.errorbar(x, y, spread, color=colour, marker=marker, markersize=6, capsize=3, linewidth=2, label=name)
        counts = [point.labels_per_class for point in curve]
        axes.set_xscale("log")
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.set_xticks([], minor=True)
        axes.set(xlabel="labelled training images per class", ylabel="test accuracy")
        in_percent(axes.yaxis)
        if axes.get_ylim()[1] > 0.9:
            axes.set_ylim(top=1.01)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        legend(axes)
        return svg(drawn, "label-curve")


def reliability_svg(used: Sequence[Bin], raw: Sequence[Bin] = ()) -> str:
    """Share named rightly against confidence; on the dashed line the model is as sure as it is right.

    Args:
        used: bands of confidence as the model answers.
        raw: the same without its temperature; empty where there is none.
    """
    with figure(WIDTH, 3.6) as (drawn, axes):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 4)))
        if raw:
            before = [item.confidence for item in raw], [item.accuracy for item in raw]
            axes.plot(*before, color=ORANGE, linewidth=1.2, marker="D", markersize=4, mfc=PAPER, label="before")
        confidence, accuracy = [item.confidence for item in used], [item.accuracy for item in used]
        axes.vlines(confidence, confidence, accuracy, color=BLUE, linewidth=2, alpha=0.5)
        total = sum(item.count for item in used)
        sizes = [18 + 260 * item.count / max(total, 1) for item in used]
        axes.scatter(confidence, accuracy, s=sizes, color=BLUE, zorder=3)
        if raw:
            axes.plot([], [], color=BLUE, marker="o", linewidth=0, label="after calibration")
            legend(axes)
        least = max(0.0, np.floor(min([*confidence, *accuracy, 0.9]) * 10) / 10 - 0.03)
        axes.set(xlabel="confidence", ylabel="named rightly", xlim=(least, 1.03), ylim=(least, 1.03))
        in_percent(axes.xaxis, axes.yaxis)
        axes.grid(color=GRID, linewidth=0.8)
        return svg(drawn, "reliability")


def _side(point: Comparison, name: str) -> Estimate | None:
    return point.transferred if name == "transferred" else point.control


def _cells(counts: NDArray[np.intp]) -> list[tuple[int, int]]:
    """The cells to draw: the filled ones of the diagonal, and the fullest off it."""
    rows, columns = np.nonzero(counts)
    order = np.lexsort((columns, rows, -counts[rows, columns], rows != columns))
    filled = int((np.diag(counts) > 0).sum())
    return [(int(rows[place]), int(columns[place])) for place in order[: filled + MOST_CELLS]]


def _square(row: int, column: int) -> list[tuple[float, float]]:
    low, high, top, bottom = column - 0.48, column + 0.48, row - 0.48, row + 0.48
    return [(low, top), (high, top), (high, bottom), (low, bottom)]
