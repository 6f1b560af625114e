"""Learning curves as a table and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.plotting import plotting, save_svg
from graft.training.finetune import HEAD, Trained

if TYPE_CHECKING:
    import pandas as pd


def curves_table(runs: Mapping[str, Trained]) -> pd.DataFrame:
    """A row per run and epoch; losses in nats."""
    import pandas as pd

    return pd.DataFrame([{"run": name, **asdict(point)} for name, run in runs.items() for point in run.curve])


def plot_curves(runs: Mapping[str, Trained], path: Path) -> None:
    """Training loss against epochs, a line per run."""
    figure, axes = plotting().subplots(figsize=(5.5, 3.6), layout="constrained")
    for (name, run), colour in zip(runs.items(), ("#0072b2", "#d55e00", "#009e73"), strict=False):
        epochs = range(len(run.curve)) if run.curve and run.curve[0].stage == HEAD else range(1, len(run.curve) + 1)
        axes.plot(epochs, [point.train_loss for point in run.curve], "o-", color=colour, label=name, markersize=3)
    axes.set(xlabel="epoch (0: the head alone)", ylabel="training loss (nats)")
    axes.grid(alpha=0.3)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="small")
    save_svg(figure, path)
