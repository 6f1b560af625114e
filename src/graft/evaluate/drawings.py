"""Every picture of an evaluation, as SVG: the report shows them, and DVC's plots are the same as files.

Pictures and not Vega charts, because DVC's page of charts loads Vega from a network and is blank without one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from graft.evaluate import curve_plots, plots
from graft.evaluate.curves import pr_table, roc_table
from graft.evaluate.reliability import bands_of
from graft.files import write_text
from graft.trust.threshold import coverage_table

if TYPE_CHECKING:
    from graft.evaluate.result import Evaluation

FOLDER = "plots"


def drawings(found: Evaluation) -> dict[str, str]:
    """SVGs by name: confusion, classes, reliability, coverage; label_curve, roc and pr where there is such a curve."""
    held_out = found.held_out
    bands = bands_of(found)
    before = () if found.trusted.trust.temperature.value == 1 else bands.before
    coverage = coverage_table(found.probabilities, held_out.labels)
    drawn = {
        "confusion": plots.confusion_svg(held_out.classes, found.confusion),
        "classes": plots.per_class_svg(found.classes),
        "reliability": plots.reliability_svg(bands.after, before),
        "coverage": curve_plots.coverage_svg(coverage, found.trusted.trust.threshold.confidence),
    }
    points = [point for point in found.curve if point.control is not None]
    if len(points) > 1:
        drawn["label_curve"] = plots.label_curve_svg(points)
    return drawn | _ranking(found)


def _ranking(found: Evaluation) -> dict[str, str]:
    roc, pr = (of(found.held_out, found.probabilities) for of in (roc_table, pr_table))
    areas = {row.name: row.roc_auc for row in found.classes if row.roc_auc is not None}
    precisions = {row.name: row.average_precision for row in found.classes if row.average_precision is not None}
    if roc.empty or not areas:
        return {}
    return {"roc": curve_plots.roc_svg(roc, areas), "pr": curve_plots.pr_svg(pr, precisions)}


def write_drawings(drawn: Mapping[str, str], folder: Path) -> None:
    """Write each as ``plots/<name>.svg``, of the size that it was drawn for: in a page of its own it has no other."""
    for name, text in drawn.items():
        write_text(folder / FOLDER / f"{name}.svg", text.replace("<svg ", '<svg width="480" ', 1) + "\n")
