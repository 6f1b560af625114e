"""Learning curves as a table and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from graft.pictures import plotting, save_svg
from graft.train.trained import Trained

if TYPE_CHECKING:
    import pandas as pd


def table(runs: Mapping[str, Trained]) -> pd.DataFrame:
    """A row per run and epoch; losses in nats, accuracy in [0, 1]."""
    import pandas as pd

    return pd.DataFrame([{"run": name, **asdict(point)} for name, run in runs.items() for point in run.curve])


def draw(runs: Mapping[str, Trained], path: Path) -> None:
    """Hold-out accuracy and loss against epochs, a line per run, stages told apart by a dashed line."""
    figure, (left, right) = plotting().subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for (name, run), colour in zip(runs.items(), ("#0072b2", "#d55e00", "#009e73"), strict=False):
        epochs = range(1, len(run.curve) + 1)
        left.plot(epochs, [point.train_loss for point in run.curve], color=colour, ls=":", label=f"{name}, training")
        if run.curve[0].holdout_loss is not None:
            left.plot(epochs, [point.holdout_loss for point in run.curve], color=colour, label=f"{name}, hold-out")
            right.plot(epochs, [point.holdout_accuracy for point in run.curve], color=colour, label=name)
        for edge in [i for i in epochs if i > 1 and run.curve[i - 1].stage != run.curve[i - 2].stage]:
            left.axvline(edge - 0.5, color=colour, ls="--", alpha=0.4)
            right.axvline(edge - 0.5, color=colour, ls="--", alpha=0.4)
    left.set(xlabel="epoch", ylabel="loss (nats)")
    right.set(xlabel="epoch", ylabel="accuracy on the hold-out")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small")
    save_svg(figure, path)
