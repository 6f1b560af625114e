"""Inline SVG by matplotlib in the page's colours, light and dark.

Matplotlib draws with stand-in colours, which become CSS variables afterwards. Figures are small, with text near its
final size, because a phone shows them one to one. Blue against orange (Okabe and Ito, 2008) is told apart by
colour-blind people.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a class may be called $5
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.borderpad": 0,
}
WIDTH = 4.9  # inches; 353 points, the width of a phone
DIAGONAL = {"color": MUTED, "linewidth": 1, "linestyle": (0, (4, 4))}


def in_percent(*axes: Any) -> None:
    """Ticks of these axes as whole percentages of 1, at places that need no rounding."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    for axis in axes:
        axis.set_major_formatter(PercentFormatter(xmax=1, decimals=0))
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], min_n_ticks=2))


def short(name: str, most: int) -> str:
    """A name of at most ``most`` characters; its end stays, as names that begin alike often differ there."""
    head = most // 2
    return name if len(name) <= most else f"{name[:head]}…{name[head + 1 - most :]}"


def legend(axes: Any, columns: int = 2) -> None:
    """Place the legend above the axes, where it hides no point."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns)


@contextmanager
def figure(width: float, height: float) -> Iterator[tuple[Figure, Any]]:
    """One pair of axes, without pyplot and so without any state that outlives it."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):  # type: ignore[arg-type]
        drawn = Figure(figsize=(width, height), layout="constrained")
        drawn.patch.set_alpha(0)
        axes = drawn.add_subplot()
        axes.patch.set_alpha(0)
        yield drawn, axes


def svg(drawn: Figure, name: str) -> str:
    """Drawn with stand-in colours -> an inline SVG without ids that could meet another picture's."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        # Names in scripts that matplotlib's font lacks: only widths are taken from it, the browser draws the text.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        drawn.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font: \1px var(--font, sans-serif)", text)
    text = re.sub(r'(<svg [^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", text))
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    for colour, variable in _THEME.items():
        text = text.replace(colour, variable)
    return text
