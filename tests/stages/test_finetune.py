"""Stage `finetune`: it says how it trains, goes on where it was killed, and leaves nothing where it diverges."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from graft.artifact import load_artifact, read_card
from graft.config import load_params
from graft.files import sha256
from graft.settings import Params
from graft.stages import control, finetune
from graft.stages.job import Job
from graft.stages.runner import run_stage
from graft.train.devices import fabric_for
from graft.train.inputs import Kept
from graft.workspace import Workspace


def run() -> int:
    return run_stage("finetune", finetune.run)


def models(workspace: Workspace) -> dict[str, str]:
    found = (workspace.root / "models").rglob("model.*")
    return {path.relative_to(workspace.root).as_posix(): sha256(path) for path in sorted(found)}


class KilledError(BaseException):
    """Not an Exception: nothing may catch it, as nothing catches a kill."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts batches, and ends the stage at number ``at``."""
    counter = {"batches": 0, "at": -1}

    def batch(self: Kept, *given: Any, real: Callable[..., Any] = Kept.batch) -> Any:
        if counter["batches"] == counter["at"]:
            raise KilledError
        counter["batches"] += 1
        return real(self, *given)

    monkeypatch.setattr(Kept, "batch", batch)
    return counter


@pytest.mark.slow
def test_a_killed_stage_goes_on_in_the_network_that_was_running(
    project: Callable[..., Workspace], asked: dict[str, int], capfd: pytest.CaptureFixture[str]
) -> None:
    """Winner, control and a pair on few labels: killed in each of them, and no step is done twice."""
    workspace = project(strategy="staged")
    assert run() == 0
    whole, total = models(workspace), asked["batches"]
    assert len([path for path in whole if path.endswith(".safetensors")]) == 4
    assert not workspace.checkpoints.joinpath("finetune").exists(), "what was only for going on is gone"
    done = 0
    for at in (2, total // 2, total - 1):
        asked["batches"], asked["at"] = done, at
        with pytest.raises(KilledError):
            finetune.run(load_params(workspace.params), workspace)
        done = at
        assert workspace.checkpoints.joinpath("finetune").exists()
    asked["batches"], asked["at"] = done, -1
    capfd.readouterr()
    assert run() == 0
    assert asked["batches"] == total
    assert models(workspace) == whole
    assert "going on from the checkpoint" in capfd.readouterr().err


def test_the_strategy_and_its_reason_are_written_down(
    project: Callable[..., Workspace], capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = project({"mean": 0.8, "curve": [0.9, 0.85, 0.8, 0.8]}, control=False)
    assert run() == 0
    said = json.loads((workspace.training / "strategy.json").read_text(encoding="utf-8"))
    per_class = int(pd.read_parquet(workspace.splits).query("split == 'train'")["label"].value_counts().min())
    assert 2 < per_class < 10
    assert (said["strategy"], said["chosen_by"], said["rule"]) == ("extract", "auto", "few images")
    assert said["evidence"] == {
        "per_class": per_class, "classes": 2, "probe": 0.8, "curve": [0.9, 0.85, 0.8, 0.8], "blocks": 4
    }  # fmt: skip
    printed = capfd.readouterr().out
    assert "strategy: extract, by auto (few images: fewer than 10 images of a class: the head alone)" in printed
    assert load_artifact(workspace.finetuned)[0].provenance["strategy"] == "extract"


def test_what_lies_behind_the_peak_of_the_depth_curve_is_trained(project: Callable[..., Workspace]) -> None:
    workspace = project({"mean": 0.6, "curve": [0.9, 0.8, 0.7, 0.6]}, control=False)
    assert run() == 0
    said = json.loads((workspace.training / "strategy.json").read_text(encoding="utf-8"))
    assert (said["strategy"], said["unfreeze_blocks"]) == ("staged", 3)


def test_a_named_strategy_overrules(project: Callable[..., Workspace]) -> None:
    workspace = project(strategy="full", control=False)
    assert run() == 0
    said = json.loads((workspace.training / "strategy.json").read_text(encoding="utf-8"))
    assert (said["strategy"], said["chosen_by"]) == ("full", "train.strategy")
    curves = pd.read_csv(workspace.training / "curves.csv")
    assert set(curves["stage"]) == {"everything"}


def test_an_unknown_strategy_is_refused_before_any_work(
    project: Callable[..., Workspace], capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = project(strategy="gradul")
    assert run() == 1
    assert "there is no strategy 'gradul'\n  where: train.strategy\n  remedy: did you mean 'gradual'?" in (
        capfd.readouterr().err
    )
    assert models(workspace) == {}


def test_a_network_from_scratch_without_epochs_is_refused_before_any_work(
    project: Callable[..., Workspace], capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = project(finetune_epochs=0, strategy="scratch", control=False)
    assert run() == 1
    assert capfd.readouterr().err == (
        "error: a network from scratch cannot be trained in 0 epochs\n  where: train.finetune_epochs\n"
        "  remedy: give it epochs; for the head of a pretrained network alone set train.strategy: extract\n"
    )
    assert models(workspace) == {}


def budget(workspace: Workspace, name: str = "scratch") -> dict[str, Any]:
    found = read_card(workspace.controls / name).provenance["budget"]
    assert isinstance(found, dict)
    return found


def test_the_control_has_a_budget_in_steps_and_a_rate_of_its_own(
    project: Callable[..., Workspace], capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever the transfer's epochs and settings are, also those of a search, and also on few labels."""
    workspace = project(strategy="extract", finetune_epochs=1, learning_rate=0.0001, control_steps=20)
    best = json.loads((workspace.tuning / "best.json").read_text(encoding="utf-8"))
    (workspace.tuning / "best.json").write_text(json.dumps({**best, "train": {"finetune_epochs": 3, "batch_size": 4}}))
    assert run() == 0
    images = int((pd.read_parquet(workspace.splits)["split"] == "train").sum())
    each = -(-images // 8)
    everything, few = budget(workspace), budget(workspace, "labels-3-scratch")
    assert (everything["images"], everything["epochs"]) == (images, -(-20 // each))
    assert 20 <= everything["steps"] == everything["epochs"] * each < 20 + each
    assert (few["images"], few["epochs"], few["steps"]) == (6, 20, 20)
    for found in (everything, few):
        rates = [rate for rate, _ in found["tried"]]
        assert rates == list(control.RATES) and found["learning_rate"] in rates
        best_score = max(score for _, score in found["tried"])
        assert dict(map(tuple, found["tried"]))[found["learning_rate"]] == best_score
    said = f"the control had {everything['steps']} steps at a rate of {everything['learning_rate']:g}\n"
    assert said in capfd.readouterr().out


def test_the_control_never_has_fewer_epochs_than_the_fine_tuning(project: Callable[..., Workspace]) -> None:
    workspace = project(strategy="extract", finetune_epochs=3, control_steps=1, label_counts=[])
    assert run() == 0
    assert budget(workspace)["epochs"] == 3


def test_label_counts_are_compared_once_and_those_that_are_too_many_are_said(
    project: Callable[..., Workspace], capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = project(strategy="extract", finetune_epochs=1, label_counts=[3, 3, 100])
    assert run() == 0
    named = json.loads((workspace.controls / "controls.json").read_text(encoding="utf-8"))
    assert named == ["scratch", "labels-3-transfer", "labels-3-scratch"]
    assert "no comparison on 100 labels per class: a class has no more than that\n" in capfd.readouterr().out
    trained_on = {name: read_card(workspace.controls / name).provenance["train_images"] for name in named}
    everything = int((pd.read_parquet(workspace.splits)["split"] == "train").sum())
    assert trained_on == {"scratch": everything, "labels-3-transfer": 6, "labels-3-scratch": 6}


def test_no_epochs_are_the_head_alone(project: Callable[..., Workspace]) -> None:
    workspace = project(strategy="staged", finetune_epochs=0, control=False)
    assert run() == 0
    assert load_artifact(workspace.finetuned)[0].provenance["epochs"] == {}
    assert pd.read_csv(workspace.training / "curves.csv")["stage"].unique().tolist() == ["head"]


def test_scratch_as_a_strategy_says_that_it_had_no_weights(project: Callable[..., Workspace]) -> None:
    workspace = project(strategy="scratch", control=False)
    winner = workspace.selection / "winner.json"
    winner.write_text(winner.read_text().replace('"weights": "none"', '"weights": "source"'))
    assert run() == 0
    assert load_artifact(workspace.finetuned)[0].weights == "none"


def test_a_training_that_diverges_names_its_images_and_leaves_no_model(
    project: Callable[..., Workspace], capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = project(strategy="full", learning_rate=1e30)
    assert run() == 1
    said = capfd.readouterr().err
    assert "error: the loss is nan in stage 'everything', epoch 0, step 1, at the rate" in said
    assert "  batch: " in said and "cat/cat_" in said and "where: train.learning_rate" in said
    assert models(workspace) == {} and not workspace.training.exists()


def test_what_early_stopping_watches_shares_no_group_with_what_is_trained_on(
    make_classes: Callable[..., Path], project: Callable[..., Workspace]
) -> None:
    """Every image is there twice: both are watched, or none."""
    folder = make_classes({"cat": 12, "dog": 12})
    for path in sorted(folder.rglob("*.png")):
        shutil.copy(path, path.with_name(f"copy_{path.name}"))
    workspace = project()
    params: Params = load_params(workspace.params)
    job = Job.open(params, workspace, fabric_for("cpu"))
    held_out = job._held_out(np.ones(len(job.data.labels), dtype=bool))
    assert held_out is not None
    table = pd.read_parquet(workspace.splits).set_index("path").loc[list(job.data.images.paths)]
    assert (table["split"] == "train").all()
    groups = table["group"].to_numpy()
    assert len(set(groups)) < len(groups), "there are groups of several images"
    assert not set(groups[held_out]) & set(groups[~held_out])
    assert set(job.data.labels[held_out]) == set(job.data.labels)
