"""Stage `finetune`: train the winner on all training images; where a label curve is wanted, also on few of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from graft.core.files import atomic_file, write_json
from graft.core.settings import Params
from graft.core.workspace import Workspace
from graft.pipeline.execution.runner import run_stage

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from graft.calibration.fit import CalibrationFit
    from graft.pipeline.finetuning.inputs import Finetuning
    from graft.training.finetune import Trained


def run(params: Params, workspace: Workspace) -> None:
    """Write the fine-tuned winner, its learning curve, how the strategy was chosen, and the winner on fewer labels.

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
    from graft.core.deadline import OutOfTimeError
    from graft.pipeline.finetuning.inputs import fit, without_blocks
    from graft.pipeline.finetuning.label_counts import subsets
    from graft.pipeline.finetuning.live import live
    from graft.pipeline.finetuning.saving import save_model
    from graft.selection.out_of_fold import FILE
    from graft.training.compute.distributed import written_once
    from graft.training.curves import curves_table, plot_curves
    from graft.training.strategies import STRATEGIES

    candidate, choice = job.winner.candidate, job.choice
    rows = np.ones(len(job.trainer.data.labels), dtype=bool)
    cut_after, provenance = job.winner.cut_after, {"splits_sha256": job.splits_sha256}
    fabric.print(f"fine-tuning {candidate.arch} ({candidate.weights}) on {rows.sum()} images")
    fabric.print(f"strategy: {choice.strategy}, by {choice.chosen_by} ({choice.why})", flush=True)
    epochs = STRATEGIES[choice.strategy].plan(job.winner.blocks, job.trainer.settings).epochs
    with live(workspace, fabric, epochs) as curves:
        try:
            trained = fit(job, rows, fabric, curves.of("transfer"))
        except OutOfTimeError as error:
            fabric.print(f"warning: {error.what}: the head alone is delivered", flush=True)
            job = without_blocks(job, workspace.selection / FILE)
            choice = job.choice
            trained = fit(job, rows, fabric)
    with written_once(workspace.label_curve, fabric) as folder:
        counts = []
        for count, some in subsets(job.trainer):
            if some is not None:
                fabric.print(f"training on {count} labels per class", flush=True)
                fewer = fit(job, some, fabric)
                save_model(folder / f"labels-{count}", job.trainer, choice.strategy, fewer, some, cut_after, provenance)
                counts.append(count)
        write_json(folder / "label_counts.json", counts)
    calibration = fit_calibration(job, trained)
    with written_once(workspace.training, fabric) as reports:
        with atomic_file(reports / "curves.csv") as beside:
            curves_table({"transfer": trained}).to_csv(beside, index=False)
        plot_curves({"transfer": trained}, reports / "curves.svg")
        write_json(reports / "strategy.json", {**asdict(choice), "fold_scores": dict(job.scores)})
    fabric.barrier()
    if fabric.is_global_zero:
        save_model(workspace.finetuned, job.trainer, choice.strategy, trained, rows, cut_after, provenance, calibration)
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
    if trained.features is None:
        features = features_of(trained.network, trainer.start(strategy).preprocessing, trainer.images(strategy)[kept])
    else:
        features = trained.features[kept]
    return fit_calibration(
        OutOfFoldLogits(job.logits, data.labels[job.places], data.groups[job.places]),
        SeenFeatures(features, data.groups[kept]),
        job.trust,
    )


if __name__ == "__main__":
    raise SystemExit(run_stage("finetune", run, uses_torch=True))
