"""Stage `finetune`: train the winner on all training images, and beside it the controls it is compared with."""

from __future__ import annotations

import dataclasses
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from graft.errors import ConfigError
from graft.files import sha256, whole_file, write_json
from graft.settings import Params, Train
from graft.stages.job import Job
from graft.stages.runner import run_stage
from graft.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from graft.stages.control import Budget
    from graft.train.finetune import Trained
    from graft.train.loop import Report
    from graft.trust.calibration import CalibrationFit

    # Which images are meant, bool (n).
    Rows = NDArray[np.bool_]


def run(params: Params, workspace: Workspace) -> None:
    """Write the fine-tuned winner, the controls, the learning curves, and how the strategy was chosen.

    Raises:
        ConfigError: there is no such strategy, a network from scratch has no epochs, or there are fewer devices than
            wanted.
        TrainingError: the loss is not finite.
    """
    from graft.stages.tune import tuned
    from graft.train.several import launch

    asked, params = params.train, tuned(params, workspace)
    require_epochs(params.train)
    launch(train_all, params.compute, params, workspace, asked)


def require_epochs(train: Train) -> None:
    """Refuse a network from scratch that would stay as random as it begins.

    Raises:
        ConfigError: it says what may be set.
    """
    if not train.finetune_epochs and train.strategy == "scratch":
        raise ConfigError(
            "a network from scratch cannot be trained in 0 epochs",
            where="train.finetune_epochs",
            remedy="give it epochs; for the head of a pretrained network alone set train.strategy: extract",
        )


def train_all(fabric: Fabric, params: Params, workspace: Workspace, asked: Train) -> None:
    """The stage in one process; with several devices each trains along, and the first one writes.

    Args:
        fabric: the device or devices.
        params: the settings, with what the search found better.
        workspace: the project.
        asked: ``train`` without that, for the control.
    """
    import pandas as pd

    from graft.evaluate.judgement import write_csv
    from graft.evaluate.repeated import PAIRS_FILE
    from graft.stages.fold_pairs import fold_pairs
    from graft.stages.live import live
    from graft.train.curves import draw, table
    from graft.train.several import written_once

    job = with_tuned_scores(Job.open(params, workspace, fabric))
    rows = np.ones(len(job.data.labels), dtype=bool)
    choice = job.choice
    fabric.print(f"fine-tuning {job.winner.arch} ({job.winner.weights}) on {rows.sum()} images")
    fabric.print(f"strategy: {choice.strategy}, by {choice.chosen_by} ({choice.why})", flush=True)
    with live(workspace, fabric) as curves:
        trained = job.train(choice.strategy, rows, curves.of("transfer"))
        with written_once(workspace.controls, fabric) as folder:
            runs = {"transfer": trained, **controls(job, asked, folder, rows, curves.of("scratch"))}
    pairs = fold_pairs(job, asked)
    calibration = fit_calibration(job, trained)
    with written_once(workspace.training, fabric) as reports:
        with whole_file(reports / "curves.csv") as beside:
            table(runs).to_csv(beside, index=False)
        draw(runs, reports / "curves.svg")
        write_json(reports / "strategy.json", {**asdict(choice), "fold_scores": dict(job.scores)})
        if pairs:
            write_csv(reports / PAIRS_FILE, pd.DataFrame([asdict(pair) for pair in pairs]))
    fabric.barrier()
    if fabric.is_global_zero:
        save(job, workspace.finetuned, choice.strategy, trained, rows, calibration)
        job.keeper.clear()


def with_tuned_scores(job: Job) -> Job:
    """The job with the scores of the settings that a search found, where any won, in place of the selection's.

    Else the head alone, once it was better, would be delivered however much better fine-tuning became.
    """
    from scipy.special import softmax

    from graft.evaluate.scorer import scorer
    from graft.select.out_of_fold import FILE, read_logits

    path = job.workspace.tuning / FILE
    if not path.exists():
        return job
    data, by = job.data, scorer(job.params.metric)
    said = softmax(read_logits(path, data).astype(np.float64), axis=1)
    folds = (data.folds == fold for fold in np.unique(data.folds))
    found = tuple(by(data.labels[fold], said[fold]) for fold in folds)
    return dataclasses.replace(job, scores={**job.scores, job.searched: found})


def controls(job: Job, asked: Train, folder: Path, rows: Rows, report: Report) -> dict[str, Trained]:
    """Train and save what the winner is compared with; returns those that belong into the learning curves."""
    from graft.stages.control import train_control

    wanted = job.params.train
    if not wanted.control:
        write_json(folder / "controls.json", [])
        return {}
    job.fabric.print("training the control: the same network from scratch", flush=True)
    scratch, budget = train_control(job, asked, rows, report)
    job.fabric.print(f"the control had {budget.steps:,} steps at a rate of {budget.learning_rate:g}", flush=True)
    save(job, folder / "scratch", "scratch", scratch, rows, budget=budget)
    names = ["scratch"]
    for count in dict.fromkeys(wanted.label_counts):
        some = fewer(job, rows, count)
        if some is None:
            job.fabric.print(f"no comparison on {count} labels per class: a class has no more than that", flush=True)
            continue
        job.fabric.print(f"training both on {count} labels per class", flush=True)
        transfer, control = f"labels-{count}-transfer", f"labels-{count}-scratch"
        save(job, folder / transfer, job.choice.strategy, job.train(job.choice.strategy, some), some)
        trained, budget = train_control(job, asked, some)
        save(job, folder / control, "scratch", trained, some, budget=budget)
        names += [transfer, control]
    write_json(folder / "controls.json", names)
    return {"scratch": scratch}


def fewer(job: Job, rows: Rows, count: int) -> Rows | None:
    """``count`` images of each class, the same for both sides; None where a class has no more than that."""
    from graft.determinism import derive_seed

    random = np.random.default_rng(derive_seed(job.params.seed, "labels"))
    some = np.zeros_like(rows)
    for label in range(len(job.data.classes)):
        of_class = np.flatnonzero(rows & (job.data.labels == label))
        if len(of_class) <= count:
            return None
        # The same order for every count, so that the smaller sets are parts of the larger ones.
        some[random.permutation(of_class)[:count]] = True
    return some


def fit_calibration(job: Job, trained: Trained) -> CalibrationFit:
    """How far the winner's answers are to be trusted: see :func:`graft.trust.calibration.fit_calibration`."""
    from graft.trust.calibration import OutOfFold, SeenFeatures, fit_calibration
    from graft.trust.novelty import chosen_rows, features_of

    own, data, settings = job.candidate(job.choice.strategy), job.data, job.params.trust
    assert data.groups is not None, "the table of splits has the group of every image"
    logits = out_of_fold_logits(job)
    kept = chosen_rows(data.labels, settings.reference_images, job.params.seed)
    features = features_of(trained.network, job.preprocessing(own), job.prepared(own)[kept])
    return fit_calibration(
        OutOfFold(logits, data.labels, data.groups),
        SeenFeatures(features, data.groups[kept]),
        settings,
    )


def out_of_fold_logits(job: Job) -> NDArray[np.float32]:
    """What networks trained without an image's fold, as the winner is, say of it, (n, classes).

    By the search's settings where any won and what it varied is delivered, else by the settings at hand.
    """
    from graft.select.out_of_fold import FILE, read_logits

    tuned = job.workspace.tuning / FILE
    won = job.choice.strategy == job.searched and tuned.exists()
    return read_logits(tuned if won else job.workspace.selection / FILE, job.data)


def save(
    job: Job,
    folder: Path,
    strategy: str,
    trained: Trained,
    rows: Rows,
    calibration: CalibrationFit | None = None,
    budget: Budget | None = None,
) -> None:
    """Write a model, with its provenance, that was trained on the images ``rows``.

    How far its answers are to be trusted, where that was fitted, and a control's ``budget`` go along.
    """
    from graft.artifact import Artifact, save_artifact
    from graft.trust.calibration import NOT_FITTED

    candidate, found = job.candidate(strategy), calibration or NOT_FITTED
    provenance = {
        "seed": job.params.seed,
        "strategy": strategy,
        "epochs": trained.epochs,
        "precision": trained.precision,
        "train_images": int(rows.sum()),
        "splits_sha256": sha256(job.workspace.splits),
        **({} if budget is None else {"budget": budget.to_json()}),
    }
    artifact = Artifact(
        job.data.classes,
        candidate.arch,
        candidate.weights,
        None if job.depth == job.blocks - 1 else job.depth,
        job.preprocessing(candidate),
        provenance=provenance,
        trust=found.trust,
    )
    save_artifact(folder, artifact, trained.network, found.reference)


if __name__ == "__main__":
    raise SystemExit(run_stage("finetune", run, uses_torch=True))
