"""Stage `finetune`: train the winner on all training images, and beside it the controls it is compared with."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from graft.core.files import atomic_file, write_csv, write_json
from graft.core.settings import Params
from graft.core.workspace import Workspace
from graft.pipeline.execution.runner import run_stage

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from graft.calibration.fit import CalibrationFit
    from graft.pipeline.finetuning.inputs import Finetuning
    from graft.training.finetune import Trained


def run(params: Params, workspace: Workspace) -> None:
    """Write the fine-tuned winner, the controls, the learning curves, and how the strategy was chosen.

    Raises:
        ConfigError: there is no such strategy, a network from scratch has no epochs, or there are fewer devices than
            wanted.
        TrainingError: the loss is not finite.
    """
    from graft.pipeline.finetuning.inputs import resolve
    from graft.training.compute.distributed import launch

    launch(train_all, params.compute, resolve(params, workspace), workspace)


def train_all(fabric: Fabric, job: Finetuning, workspace: Workspace) -> None:
    """The stage in one process; with several devices each trains along, and the first one writes."""
    import pandas as pd

    from graft.evaluation.compare.fold_pairs import PAIRS_FILE
    from graft.pipeline.finetuning.control import train_controls
    from graft.pipeline.finetuning.fold_pairs import fold_pairs
    from graft.pipeline.finetuning.inputs import fit, save
    from graft.pipeline.finetuning.live import live
    from graft.training.compute.distributed import written_once
    from graft.training.curves import curves_table, plot_curves

    candidate, choice = job.winner.candidate, job.choice
    rows = np.ones(len(job.trainer.data.labels), dtype=bool)
    fabric.print(f"fine-tuning {candidate.arch} ({candidate.weights}) on {rows.sum()} images")
    fabric.print(f"strategy: {choice.strategy}, by {choice.chosen_by} ({choice.why})", flush=True)
    with live(workspace, fabric) as curves:
        trained = fit(job, rows, fabric, curves.of("transfer"))
        with written_once(workspace.controls, fabric) as folder:
            runs = {"transfer": trained, **train_controls(job, folder, rows, fabric, curves.of("scratch"))}
    pairs = fold_pairs(job, fabric)
    calibration = fit_calibration(job, trained)
    with written_once(workspace.training, fabric) as reports:
        with atomic_file(reports / "curves.csv") as beside:
            curves_table(runs).to_csv(beside, index=False)
        plot_curves(runs, reports / "curves.svg")
        write_json(reports / "strategy.json", {**asdict(choice), "fold_scores": dict(job.scores)})
        if pairs:
            write_csv(reports / PAIRS_FILE, pd.DataFrame([asdict(pair) for pair in pairs]))
    fabric.barrier()
    if fabric.is_global_zero:
        save(job, workspace.finetuned, choice.strategy, trained, rows, calibration)
        job.checkpoints.clear()


def fit_calibration(job: Finetuning, trained: Trained) -> CalibrationFit:
    """How far the winner's answers are to be trusted: see :func:`graft.calibration.fit.fit_calibration`."""
    from graft.calibration.fit import NOT_FITTED, OutOfFoldLogits, SeenFeatures, fit_calibration
    from graft.calibration.novelty import MOST_IMAGES, chosen_rows, features_of

    trainer, strategy = job.trainer, job.choice.strategy
    data = trainer.data
    if not data.task.categorical:
        return NOT_FITTED
    assert data.groups is not None, "the table of splits has the group of every image"
    kept = chosen_rows(data.labels, MOST_IMAGES, trainer.seed)
    features = features_of(trained.network, trainer.start(strategy).preprocessing, trainer.images(strategy)[kept])
    return fit_calibration(
        OutOfFoldLogits(job.logits, data.labels, data.groups),
        SeenFeatures(features, data.groups[kept]),
        job.trust,
    )


if __name__ == "__main__":
    raise SystemExit(run_stage("finetune", run, uses_torch=True))
