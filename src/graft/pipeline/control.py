"""Stage `control`: train the winner's network from scratch, so that what transfer is worth can be told.

It needs nothing of the fine-tuning, so it can run beside it, and the model is packaged without it.
"""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from graft.core.determinism import derive_seed
from graft.core.files import sha256, write_csv, write_json
from graft.core.settings import Params
from graft.core.workspace import Workspace
from graft.pipeline.execution.runner import run_stage

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_fabric import Fabric

    from graft.core.settings import Compute
    from graft.parallel.mapper import Mapper
    from graft.selection.candidate_training import CandidateTrainer
    from graft.selection.scratch_control import ScratchControl


@dataclass(frozen=True)
class ControlJob:
    """What the stage trains; can be sent to another process.

    Attributes:
        trainer: of the winner's network, at the control's size.
        cut_after: the last block that is kept; None: all are.
        compute: what the trainings in folds are spread over.
        splits_sha256: of the table of splits, for model.json.
        finetune_folds: how many folds finalists were fine-tuned without; None: all.
    """

    trainer: CandidateTrainer
    cut_after: int | None
    compute: Compute
    splits_sha256: str
    finetune_folds: int | None

    def control(self, fabric: Fabric | None, checkpoints: Path | None = None) -> ScratchControl:
        """What trains the control."""
        from graft.selection.scratch_control import ScratchControl
        from graft.training.checkpoint import CheckpointStore

        store = None if checkpoints is None else CheckpointStore(checkpoints)
        return ScratchControl(self.trainer, self.trainer.settings, store, fabric)


def run(params: Params, workspace: Workspace) -> None:
    """Write models/controls: the control on all training images and on fewer labels, and its scores on folds.

    Nothing is trained where ``train.control`` is false, the task has no classes, or the winner itself began without
    weights: nothing was transferred then.

    Raises:
        DataError: nothing was chosen yet.
        TrainingError: the loss is not finite.
    """
    from graft.core.files import atomic_dir
    from graft.evaluation.compare.control_folds import CONTROLS_FILE
    from graft.pipeline.inputs.planned import deadline_of, with_plan
    from graft.pipeline.inputs.winner import read_network
    from graft.tasks.registry import find_task

    params = with_plan(params, workspace, "control")
    network = read_network(workspace)
    if not params.train.control or not find_task(params.data.task).categorical or network.candidate.weights == "none":
        with atomic_dir(workspace.controls) as folder:
            write_json(folder / CONTROLS_FILE, {"trained": [], "out_of_time": False})
        print("control: none is wanted" if not params.train.control else "control: there is nothing to compare with")
        return
    from graft.pipeline.inputs.winner import control_trainer
    from graft.training.compute.distributed import launch

    deadline = deadline_of(params, workspace, "control")
    trainer = dataclasses.replace(control_trainer(network, params, workspace), deadline=deadline)
    splits, folds = sha256(workspace.splits), params.select.finetune_folds
    job = ControlJob(trainer, network.cut_after, params.compute, splits, folds)
    launch(train_all, params.compute, job, workspace)


def train_all(fabric: Fabric, job: ControlJob, workspace: Workspace) -> None:
    """The stage in one process; with several devices each trains along, and the first one writes."""
    import pandas as pd

    from graft.core.deadline import OutOfTimeError
    from graft.evaluation.compare.control_folds import CONTROLS_FILE, FOLDS_FILE
    from graft.pipeline.finetuning.label_counts import subsets
    from graft.pipeline.finetuning.saving import save_model
    from graft.selection.scratch_control import STRATEGY
    from graft.training.compute.distributed import written_once

    checkpoints = workspace.checkpoints / "control"
    control = dataclasses.replace(job.control(fabric, checkpoints), say=partial(fabric.print, flush=True))
    everything = np.ones(len(job.trainer.data.labels), dtype=bool)
    wanted = [("scratch", everything)]
    for count, rows in subsets(job.trainer):
        if rows is None:
            fabric.print(f"no comparison on {count} labels per class: a class has no more than that", flush=True)
        else:
            wanted.append((f"labels-{count}", rows))
    done: list[str] = []
    rate: float | None = None
    with written_once(workspace.controls, fabric) as folder:
        try:
            for name, rows in wanted:
                fabric.print(f"training the control on {rows.sum()} images, from random weights", flush=True)
                # Fewer labels, of which few could be held out, take the rate of all of them.
                trained, budget = control.train(rows, rate)
                rate = budget.learning_rate
                provenance = {"splits_sha256": job.splits_sha256, "budget": budget.to_json()}
                save_model(folder / name, job.trainer, STRATEGY, trained, rows, job.cut_after, provenance)
                done.append(name)
            if scores := fold_scores(job, fabric):
                write_csv(folder / FOLDS_FILE, pd.DataFrame(scores))
        except OutOfTimeError as error:
            fabric.print(f"warning: {error.what}: what is done so far is compared, and nothing else", flush=True)
        write_json(folder / CONTROLS_FILE, {"trained": done, "out_of_time": len(done) < len(wanted)})
    fabric.barrier()
    if fabric.is_global_zero and control.checkpoints is not None:
        control.checkpoints.clear()


def fold_scores(job: ControlJob, fabric: Fabric) -> list[dict[str, float]]:
    """Accuracy on each fold that finalists were fine-tuned without, for each of ``train.control_seeds`` seeds."""
    from graft.parallel.factory import mapper_for
    from graft.parallel.mapper import SerialMapper
    from graft.parallel.outcomes import value_of
    from graft.selection.candidates import finetune_folds

    folds = finetune_folds(job.trainer.data.folds, job.finetune_folds)
    places = [(seed, fold) for seed in range(job.trainer.settings.control_seeds) for fold in folds]
    if not places:
        return []
    together = None if fabric.world_size == 1 else fabric
    # Devices that train together do each fold together.
    opened: AbstractContextManager[Mapper] = (
        mapper_for(job.compute) if together is None else nullcontext(SerialMapper())
    )
    with opened as mapper:
        outcomes = mapper.map(partial(_fold_score, job, together), places, "training the control without each fold")
        return list(map(value_of, outcomes))


def _fold_score(job: ControlJob, fabric: Fabric | None, place: tuple[int, int]) -> dict[str, float]:
    from graft.metrics.scorer import ACCURACY
    from graft.selection.scratch_control import STRATEGY

    seed, fold = place
    control = job.control(fabric).with_seed(derive_seed(job.trainer.seed, "control folds", seed) % 2**31)
    test = job.trainer.data.folds == fold
    trained, _ = control.train(~test)
    return {
        "seed": seed,
        "fold": fold,
        "train_images": int((~test).sum()),
        "test_images": int(test.sum()),
        "control": control.trainer.score(trained, STRATEGY, test, ACCURACY),
    }


if __name__ == "__main__":
    raise SystemExit(run_stage("control", run, uses_torch=True))
