"""The leaderboard: a row per candidate, best first, and the pictures that go with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.pictures import plotting, save_svg
from graft.select.candidates import Result
from graft.select.probe import standard_error
from graft.select.rule import ranked, reasons

if TYPE_CHECKING:
    import pandas as pd


def name_of(result: Result) -> str:
    """Short name for tables and plots, such as ``resnet18 (source, 32 px)``."""
    size = result.preprocessing.geometry.size
    return f"{result.candidate.arch.removeprefix('timm:')} ({result.candidate.weights}, {size} px)"


def table(results: Sequence[Result]) -> pd.DataFrame:
    """One row per candidate, best first. Scores are accuracies in [0, 1]."""
    import pandas as pd

    rows = ranked(results)
    return pd.DataFrame(
        [
            {"rank": rank, **_row(result), "why": why}
            for rank, (result, why) in enumerate(zip(rows, reasons(rows), strict=True), start=1)
        ]
    )


def _row(result: Result) -> dict[str, Any]:
    tuned = result.finetuned
    return {
        "name": name_of(result),
        "score": round(result.mean, 4),
        "arch": result.candidate.arch,
        "weights": result.candidate.weights,
        "size": result.preprocessing.geometry.size,
        "depth": result.probe.depth,
        "blocks": result.blocks,
        "finetuned_mean": round(float(np.mean(tuned)), 4) if tuned else None,
        "finetuned_se": round(standard_error(tuned), 4) if tuned else None,
        "probe_mean": round(result.probe.mean, 4),
        "probe_se": round(standard_error(result.probe.fold_scores), 4),
        "fold_scores": " ".join(f"{score:.4f}" for score in result.scores),
        "params_m": round(result.cost.params_m, 3),
        "gmacs": round(result.cost.gmacs, 4),
    }


def draw_scores(results: Sequence[Result], path: Path) -> None:
    """Mean score of every candidate with one standard error to each side, best on top."""
    rows = ranked(results)[::-1]
    figure, axes = plotting().subplots(figsize=(8, 0.6 * len(rows) + 1.2), layout="constrained")
    for height, result in enumerate(rows):
        colour = "#0072b2" if result.finetuned else "#999999"
        axes.errorbar(result.mean, height, xerr=standard_error(result.scores), fmt="o", color=colour, capsize=4)
    axes.set_yticks(range(len(rows)), [name_of(result) for result in rows])
    axes.set_xlabel("cross-validated accuracy (blue: fine-tuned in every fold; grey: linear probe)")
    axes.grid(axis="x", alpha=0.3)
    save_svg(figure, path)


def draw_depths(results: Sequence[Result], path: Path) -> None:
    """Accuracy of a linear head at every depth of every candidate; the depth that was taken is marked."""
    figure, axes = plotting().subplots(figsize=(8, 4.5), layout="constrained")
    colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]
    for number, result in enumerate(results):
        curve, colour = result.probe.curve, colours[number % len(colours)]
        where = np.linspace(0, 1, len(curve)) if len(curve) > 1 else np.ones(1)
        axes.plot(where, curve, marker=".", label=name_of(result), color=colour)
        axes.plot(where[result.probe.depth], curve[result.probe.depth], "o", ms=10, mfc="none", color=colour)
    axes.set_xlabel("depth (0: after the first block, 1: the last feature; circled: the depth that is used)")
    axes.set_ylabel("accuracy of a linear head, mean over folds")
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)
    save_svg(figure, path)
