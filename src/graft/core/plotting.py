"""Plots as SVG files: no window, and the same figures give the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graft.core.files import atomic_file


def plotting() -> Any:
    """matplotlib's pyplot, drawing to files only."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    return pyplot


def save_svg(figure: Any, path: Path) -> None:
    """Write the figure whole and close it; without a date and with a fixed salt, so that its bytes repeat."""
    pyplot = plotting()
    with atomic_file(path) as beside, pyplot.rc_context({"svg.hashsalt": "graft"}):
        figure.savefig(beside, metadata={"Date": None})
    pyplot.close(figure)
