"""The report's pictures: inline SVG whose colours are the page's, so that they follow light and dark.

Matplotlib draws with stand-in colours, which become CSS variables afterwards. Figures are small, with text near its
final size, because a phone shows them one to one. Blue against orange (Okabe and Ito, 2008) is told apart by
colour-blind people; what is blue is right or transferred, what is orange is wrong or from scratch.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from graft.evaluate.metrics import Bin
    from graft.evaluate.tables import ClassRow
    from graft.evaluate.transfer import Comparison, Estimate

INK, MUTED, GRID, BLUE, ORANGE, PAPER = (f"#0{i}0{i + 1}0{i + 2}" for i in range(1, 7))
# Stand-in -> the page's variable, with a value for an SVG that stands alone.
_THEME = {
    INK: "var(--ink, #1a1f26)",
    MUTED: "var(--muted, #5d6875)",
    GRID: "var(--line, #dfe3e8)",
    BLUE: "var(--blue, #0072b2)",
    ORANGE: "var(--orange, #d55e00)",
    PAPER: "var(--paper, #ffffff)",
}
WIDTH = 4.9  # inches; 353 points, the width of a phone
MOST_BARS = 30
MOST_NUMBERS = 15


def confusion_svg(classes: Sequence[str], counts: NDArray[np.intp]) -> str:
    """Rows true, columns predicted; blue on the diagonal, orange off it, opacity by share of the row."""
    k = len(classes)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with _figure(WIDTH, WIDTH * 0.92) as (figure, axes):
        for i, j in zip(*np.nonzero(counts), strict=True):
            # Shares off the diagonal are small; their root keeps one mistake in a hundred visible.
            opacity = float(share[i, j] if i == j else np.sqrt(share[i, j]))
            axes.add_patch(_cell(i, j, BLUE if i == j else ORANGE, max(opacity, 0.08)))
            if k <= MOST_NUMBERS:
                colour = PAPER if opacity > 0.6 else INK
                size = 13 if k <= 4 else 9 if k <= 10 else 7
                axes.text(j, i, f"{counts[i, j]}", ha="center", va="center", color=colour, fontsize=size)
        axes.set(xlim=(-0.5, k - 0.5), ylim=(k - 0.5, -0.5), xlabel="predicted", ylabel="true")
        axes.set_aspect("equal")
        if k <= MOST_BARS:
            names = [_short(name, 10) for name in classes]
            slant = 0 if max(map(len, names)) * k < 40 else 90
            axes.set_xticks(range(k), names, rotation=slant)
            axes.set_yticks(range(k), names)
        axes.tick_params(length=0)
        return _svg(figure, "confusion")


def per_class_svg(rows: Sequence[ClassRow]) -> str:
    """Recall (blue) and F1 (orange) of each class, or of the worst thirty, worst first."""
    shown = [row for row in rows if row.recall is not None and row.f1 is not None]
    shown = sorted(shown, key=lambda row: (row.f1, row.name))[:MOST_BARS]
    with _figure(WIDTH, 0.9 + 0.3 * len(shown)) as (figure, axes):
        places = np.arange(len(shown))
        recall, f1 = [row.recall for row in shown], [row.f1 for row in shown]
        axes.hlines(places, 0, 1, color=GRID, linewidth=0.8)
        axes.scatter(recall, places, color=BLUE, s=46, label="recall", zorder=3)
        axes.scatter(f1, places, facecolors=PAPER, edgecolors=ORANGE, marker="D", s=30, label="F1", zorder=4)
        axes.set_yticks(places, [_short(row.name, 16) for row in shown])
        least = min([*(value for value in recall + f1 if value is not None), 0.8])
        axes.set(xlim=(np.floor(least * 10) / 10 - 0.02, 1.02), ylim=(len(shown) - 0.4, -0.6))
        axes.xaxis.set_major_formatter(_percent())
        _legend(axes)
        return _svg(figure, "per-class")


def label_curve_svg(curve: Sequence[Comparison]) -> str:
    """Accuracy against labels per class, transferred (blue) and from scratch (orange), with 95% intervals."""
    with _figure(WIDTH, 3.1) as (figure, axes):
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
        axes.yaxis.set_major_formatter(_percent())
        if axes.get_ylim()[1] > 0.9:
            axes.set_ylim(top=1.01)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        _legend(axes)
        return _svg(figure, "label-curve")


def reliability_svg(bins: Sequence[Bin]) -> str:
    """Share named rightly against confidence; on the dashed line the model is as sure as it is right."""
    from matplotlib.ticker import MaxNLocator

    with _figure(WIDTH, 3.4) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 4)))
        confidence, accuracy = [item.confidence for item in bins], [item.accuracy for item in bins]
        axes.vlines(confidence, confidence, accuracy, color=ORANGE, linewidth=2, alpha=0.8)
        total = sum(item.count for item in bins)
        sizes = [18 + 260 * item.count / max(total, 1) for item in bins]
        axes.scatter(confidence, accuracy, s=sizes, color=BLUE, zorder=3)
        least = max(0.0, np.floor(min([*confidence, *accuracy, 0.9]) * 10) / 10 - 0.03)
        axes.set(xlabel="confidence", ylabel="named rightly", xlim=(least, 1.03), ylim=(least, 1.03))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(_percent())
            axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.grid(color=GRID, linewidth=0.8)
        return _svg(figure, "reliability")


def _side(point: Comparison, name: str) -> Estimate | None:
    return point.transferred if name == "transferred" else point.control


def _cell(row: int, column: int, colour: str, opacity: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.48), 0.96, 0.96, facecolor=colour, alpha=opacity, linewidth=0)


def _percent() -> Any:
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(xmax=1, decimals=0)


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _legend(axes: Any) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderpad=0, labelcolor=INK)


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Figure, Any]]:
    """One pair of axes in the house style, without pyplot and so without any state that outlives it."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style = {
        "svg.fonttype": "none",
        "text.parse_math": False,  # a class may be called $5
        "font.size": 11,
        "text.color": INK,
        "axes.labelcolor": MUTED,
        "axes.edgecolor": GRID,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "xtick.color": GRID,
        "ytick.color": GRID,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
    }
    with rc_context(style):  # type: ignore[arg-type]
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        yield figure, axes


def _svg(figure: Figure, name: str) -> str:
    """Drawn with stand-in colours -> an inline SVG without ids that could meet another picture's."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        # Names in scripts that matplotlib's font lacks: only widths are taken from it, the browser draws the text.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px var(--font, sans-serif)", text)
    text = re.sub(r'(<svg [^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", text))
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    for colour, variable in _THEME.items():
        text = text.replace(colour, variable)
    return text
