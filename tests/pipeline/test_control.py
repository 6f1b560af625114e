"""Stage `control`: a budget and a rate of its own, which images it sees, and when there is nothing to train."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from graft.core.config import load_params
from graft.core.determinism import make_deterministic
from graft.core.files import sha256
from graft.core.workspace import Workspace
from graft.evaluation.compare.control_folds import read_pairs
from graft.inference.artifact import read_artifact
from graft.pipeline import control
from graft.pipeline.control import ControlJob, fold_scores
from graft.pipeline.execution.runner import run_stage
from graft.pipeline.inputs.winner import control_trainer, read_network
from graft.selection.candidate_training import CandidateTrainer
from graft.selection.scratch_control import RATES, ScratchControl
from graft.training.compute.devices import fabric_for
from tests.pipeline.conftest import KilledError, write_source


def run() -> int:
    return run_stage("control", control.run)


def told(workspace: Workspace) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((workspace.controls / "controls.json").read_text(encoding="utf-8"))
    return found


def budget(workspace: Workspace, name: str = "scratch") -> dict[str, Any]:
    found = read_artifact(workspace.controls / name).provenance["budget"]
    assert isinstance(found, dict)
    return found


def training_images(workspace: Workspace) -> int:
    return int((pd.read_parquet(workspace.splits)["split"] == "train").sum())


def test_it_has_a_budget_in_steps_and_a_rate_of_its_own(
    project: Callable[..., Workspace], capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever the fine-tuning's epochs and rate are, also those of a search, and also on few labels."""
    workspace = project(strategy="extract", epochs=40, learning_rate=0.0001, control_steps=20)
    best = json.loads((workspace.tuning / "best.json").read_text(encoding="utf-8"))
    (workspace.tuning / "best.json").write_text(json.dumps({**best, "train": {"epochs": 30, "batch_size": 4}}))
    assert run() == 0
    images = training_images(workspace)
    each = -(-images // 8)
    everything, few = budget(workspace), budget(workspace, "labels-3")
    assert (everything["images"], everything["epochs"]) == (images, -(-20 // each))
    assert 20 <= everything["steps"] == everything["epochs"] * each < 20 + each
    assert (few["images"], few["epochs"], few["steps"]) == (6, 20, 20)
    tried = dict(map(tuple, everything["tried"]))
    assert list(tried) == list(RATES) and tried[everything["learning_rate"]] == max(tried.values())
    assert (few["tried"], few["learning_rate"]) == ([], everything["learning_rate"]), "found on all labels"
    assert everything["size"] == few["size"] == 32
    had = f"the control had {everything['steps']} steps at a rate of {everything['learning_rate']:g}"
    assert f"{had}, with images of 32 px\n" in capfd.readouterr().out
    assert told(workspace) == {"trained": ["scratch", "labels-3"], "out_of_time": False}


def test_it_needs_the_network_alone_and_no_score_of_anybody(project: Callable[..., Workspace]) -> None:
    """So fine-tuning by other settings trains it not again, and it can be trained beside that."""
    workspace = project(label_counts=[])
    (workspace.selection / "winner.json").unlink()
    (workspace.selection / "out_of_fold.parquet").unlink()
    (workspace.tuning / "best.json").unlink()
    assert run() == 0
    found = read_artifact(workspace.controls / "scratch")
    assert (found.weights, found.provenance["strategy"]) == ("none", "scratch")
    assert found.provenance["splits_sha256"] == sha256(workspace.splits)


def test_settings_of_the_fine_tuning_leave_it_as_it_is_to_the_bit(project: Callable[..., Workspace]) -> None:
    workspace = project(label_counts=[], control_steps=4)
    assert run() == 0
    before = sha256(workspace.controls / "scratch" / "model.safetensors")
    project(label_counts=[], control_steps=4, epochs=9, learning_rate=0.5, unfreeze=1.0, weight_decay=0.9, dropout=0.5)
    assert run() == 0
    assert sha256(workspace.controls / "scratch" / "model.safetensors") == before


@pytest.mark.parametrize(("size", "expected"), [(40, 40), (48, 48), (96, 48), (None, 48), (8, 32)])
def test_its_side_is_at_most_that_of_the_model_and_at_least_what_the_network_takes(
    size: int | None, expected: int, project: Callable[..., Workspace]
) -> None:
    workspace = project(label_counts=[], control_size=size)
    write_source(workspace, 48)
    network = json.loads((workspace.selection / "network.json").read_text(encoding="utf-8"))
    (workspace.selection / "network.json").write_text(json.dumps({**network, "size": 48}))
    assert run() == 0
    assert budget(workspace)["size"] == read_artifact(workspace.controls / "scratch").preprocessing.size == expected


def test_label_counts_are_trained_once_and_those_that_are_too_many_are_said(
    project: Callable[..., Workspace], capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = project(label_counts=[3, 3, 100])
    assert run() == 0
    assert told(workspace)["trained"] == ["scratch", "labels-3"]
    assert "no comparison on 100 labels per class: a class has no more than that\n" in capfd.readouterr().out
    trained_on = {
        name: read_artifact(workspace.controls / name).provenance["train_images"] for name in ("scratch", "labels-3")
    }
    assert trained_on == {"scratch": training_images(workspace), "labels-3": 6}


@pytest.mark.parametrize(
    ("weights", "wanted", "said"),
    [("source", False, "control: none is wanted"), ("none", True, "control: there is nothing to compare with")],
)
def test_where_there_is_nothing_to_compare_nothing_is_trained_and_no_former_one_stays(
    weights: str,
    wanted: bool,
    said: str,
    project: Callable[..., Workspace],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workspace = project(weights=weights, control=wanted)
    (workspace.controls / "scratch").mkdir(parents=True)
    monkeypatch.setattr(CandidateTrainer, "fit", lambda *asked, **other: pytest.fail("trained"))
    assert run() == 0
    assert told(workspace) == {"trained": [], "out_of_time": False}
    assert [path.name for path in workspace.controls.iterdir()] == ["controls.json"] and said in capfd.readouterr().out


def test_every_fold_and_seed_once_and_they_pair_with_the_delivered_strategy(
    project: Callable[..., Workspace],
) -> None:
    workspace = project(label_counts=[], control_steps=2, control_seeds=2)
    params = load_params(workspace.params)
    params = dataclasses.replace(params, select=dataclasses.replace(params.select, finetune_folds=2))
    control.run(params, workspace)
    table = pd.read_csv(workspace.controls / "fold_scores.csv")
    assert list(zip(table["seed"], table["fold"], strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    splits = pd.read_parquet(workspace.splits).query("split == 'train'")
    assert (table["test_images"] == table["fold"].map(splits.groupby("fold").size())).all()
    assert (table["train_images"] + table["test_images"] == len(splits)).all()
    assert table["control"].between(0, 1).all()
    pairs = read_pairs(workspace.controls, {0: 0.25, 1: 0.75})
    assert [(pair.seed, pair.fold, pair.transfer) for pair in pairs] == [
        (0, 0, 0.25), (0, 1, 0.75), (1, 0, 0.25), (1, 1, 0.75),
    ]  # fmt: skip
    assert [pair.control for pair in pairs] == table["control"].tolist()


def job_of(workspace: Workspace) -> ControlJob:
    params, network = load_params(workspace.params), read_network(workspace)
    trainer = control_trainer(network, params, workspace)
    return ControlJob(trainer, network.cut_after, params.compute, "", params.select.finetune_folds)


def test_the_fold_that_is_scored_on_trains_nothing_and_has_no_say_in_the_rate(
    project: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(project(control_seeds=2))
    job = dataclasses.replace(job, finetune_folds=None)
    scored: list[tuple[str, Any, Any]] = []

    def score(self: CandidateTrainer, trained: Any, strategy: str, rows: Any, scorer: Any) -> float:
        scored.append((strategy, trained, rows))
        return 0.5

    # What stands for a network is which images it was trained on.
    monkeypatch.setattr(CandidateTrainer, "fit", lambda self, strategy, rows, **other: rows)
    monkeypatch.setattr(CandidateTrainer, "score", score)
    rows = fold_scores(job, fabric_for("cpu"))
    assert [(row["seed"], row["fold"]) for row in rows] == [(seed, fold) for seed in (0, 1) for fold in (0, 1, 2)]
    each = [scored[start : start + 4] for start in range(0, len(scored), 4)]
    assert len(each) == len(rows)
    for row, (*tries, (name, trained, held_out)) in zip(rows, each, strict=True):
        test = job.trainer.data.folds == row["fold"]
        assert name == "scratch" and (trained == ~test).all() and (held_out == test).all()
        for _, seen, tried_on in tries:
            assert not ((seen | tried_on) & test).any() and not (seen & tried_on).any()
            assert ((seen | tried_on) == ~test).all()


def test_seeds_differ_and_decide_random_weights_too(project: Callable[..., Workspace]) -> None:
    job = job_of(project())
    other = job.control(None).with_seed(7).trainer
    assert other.seed == other.start("scratch").weights.seed == 7 != job.trainer.seed


def test_a_single_image_beside_the_fold_leaves_the_middle_rate(project: Callable[..., Workspace]) -> None:
    """No image can be held out then, and batch statistics need two."""
    job = job_of(project(control_steps=2))
    rows = np.zeros(len(job.trainer.data.labels), dtype=bool)
    rows[[int(np.flatnonzero(job.trainer.data.labels == label)[0]) for label in (0, 1)]] = True
    _, found = ScratchControl(job.trainer, job.trainer.settings).train(rows)
    assert (found.learning_rate, found.tried, found.images) == (RATES[1], (), 2)


@pytest.mark.slow
def test_a_killed_stage_goes_on_in_the_network_that_was_running(
    project: Callable[..., Workspace], asked: dict[str, int], capfd: pytest.CaptureFixture[str]
) -> None:
    """Tries, control, few labels: killed in each of them, and no epoch is done twice."""
    workspace = project(control_steps=12)
    assert run() == 0
    files = [workspace.controls / name / "model.safetensors" for name in ("scratch", "labels-3")]
    whole, total = [sha256(file) for file in files], asked["batches"]
    assert not workspace.checkpoints.joinpath("control").exists(), "what was only for going on is gone"
    done = 0
    for steps in (total // 3, total // 3, total // 6):
        asked["batches"], asked["at"] = 0, steps
        with pytest.raises(KilledError):
            control.run(load_params(workspace.params), workspace)
        done += steps
        assert workspace.checkpoints.joinpath("control").exists()
    asked["batches"], asked["at"] = 0, -1
    capfd.readouterr()
    assert run() == 0
    assert asked["batches"] + done <= total + 3 * -(-training_images(workspace) // 8)
    assert [sha256(file) for file in files] == whole
    assert "going on from the checkpoint" in capfd.readouterr().err


@pytest.mark.slow
def test_workers_find_what_one_after_the_other_finds(project: Callable[..., Workspace]) -> None:
    make_deterministic(1)
    alone = job_of(project(control_steps=2, control_seeds=2))
    compute = dataclasses.replace(alone.compute, mapper="processes", workers=2)
    fabric = fabric_for("cpu")
    assert fold_scores(dataclasses.replace(alone, compute=compute), fabric) == fold_scores(alone, fabric)
