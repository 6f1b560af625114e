"""Stage `finetune`: it says how it trains, goes on where it was killed, and leaves nothing where it diverges."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from graft.calibration.abstention import choose_threshold
from graft.calibration.fitted_trust import Temperature, Threshold
from graft.calibration.temperature import fit_temperature, softmax_at
from graft.core.config import load_params
from graft.core.files import sha256
from graft.core.workspace import Workspace
from graft.inference.artifact import load_artifact, read_artifact
from graft.pipeline import finetune
from graft.pipeline.execution.runner import run_stage
from graft.pipeline.inputs.selection import train_set
from graft.selection.out_of_fold import FILE, out_of_fold_table, read_logits
from graft.tasks.registry import CLASSIFICATION
from tests.pipeline.conftest import KilledError, write_logits


def run() -> int:
    return run_stage("finetune", finetune.run)


def models(workspace: Workspace) -> dict[str, str]:
    """What the stage writes: not the source model."""
    found = sorted({*(workspace.root / "models").rglob("model.*")} - {*workspace.source_models.rglob("*")})
    return {path.relative_to(workspace.root).as_posix(): sha256(path) for path in found}


@pytest.mark.slow
def test_a_killed_stage_goes_on_in_the_network_that_was_running(
    project: Callable[..., Workspace], asked: dict[str, int], capfd: pytest.CaptureFixture[str]
) -> None:
    """Winner, and the same on few labels: killed in each of them, and no epoch is done twice."""
    workspace = project(strategy="finetune")
    assert run() == 0
    whole, total = models(workspace), asked["batches"]
    assert len([path for path in whole if path.endswith(".safetensors")]) == 2
    assert not workspace.checkpoints.joinpath("finetune").exists(), "what was only for going on is gone"
    images = int((pd.read_parquet(workspace.splits)["split"] == "train").sum())
    epoch = -(-images // 8)
    done = 0
    for steps in (epoch + 1, epoch - 1, epoch + 1):
        asked["batches"], asked["at"] = 0, steps
        with pytest.raises(KilledError):
            finetune.run(load_params(workspace.params), workspace)
        done += steps
        assert workspace.checkpoints.joinpath("finetune").exists()
    asked["batches"], asked["at"] = 0, -1
    capfd.readouterr()
    assert run() == 0
    assert asked["batches"] + done <= total + 3 * epoch
    assert models(workspace) == whole
    assert "going on from the checkpoint" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("extract", "finetune", "strategy", "why"),
    [
        (
            [0.8, 0.9, 0.7],
            [0.7, 0.8, 0.6],
            "finetune",
            "head alone 0.800, fine-tuned 0.700; the head alone may be ahead by chance",
        ),
        ([0.8, 0.9, 0.7], [0.9, 0.9, 0.9], "finetune", "head alone 0.800, fine-tuned 0.900"),
    ],
)
def test_what_was_better_on_the_folds_is_delivered_and_the_reason_is_written_down(
    extract: list[float],
    finetune: list[float],
    strategy: str,
    why: str,
    project: Callable[..., Workspace],
    capfd: pytest.CaptureFixture[str],
) -> None:
    why = f"the best mean over the folds: {why}"
    workspace = project({"extract": extract, "finetune": finetune})
    assert run() == 0
    said = json.loads((workspace.training / "strategy.json").read_text(encoding="utf-8"))
    assert said == {
        "strategy": strategy, "chosen_by": "auto", "why": why,
        "fold_scores": {"extract": extract, "finetune": finetune},
    }  # fmt: skip
    assert f"strategy: {strategy}, by auto ({why})\n" in capfd.readouterr().out
    provenance = load_artifact(workspace.finetuned)[0].provenance
    assert (provenance["strategy"], provenance["epochs"]) == (strategy, 2 if strategy == "finetune" else 0)


def test_the_curve_over_labels_is_of_what_is_delivered(project: Callable[..., Workspace]) -> None:
    """Fewer labels would perhaps call for the head alone; but the curve is of one strategy."""
    workspace = project({"extract": [0.5] * 3, "finetune": [0.9] * 3})
    assert run() == 0
    assert read_artifact(workspace.label_curve / "labels-3").provenance["strategy"] == "finetune"
    assert not workspace.controls.exists(), "that is another stage's work"


def test_a_named_strategy_overrules(project: Callable[..., Workspace]) -> None:
    workspace = project({"extract": [0.9] * 3}, strategy="finetune")
    assert run() == 0
    said = json.loads((workspace.training / "strategy.json").read_text(encoding="utf-8"))
    assert (said["strategy"], said["chosen_by"]) == ("finetune", "train.strategy")
    curves = pd.read_csv(workspace.training / "curves.csv")
    assert curves["stage"].tolist() == ["head", "fine-tuning", "fine-tuning"]


def test_a_strategy_of_an_earlier_version_is_refused_with_its_new_name(
    project: Callable[..., Workspace], capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = project(strategy="staged")
    assert run() == 1
    assert capfd.readouterr().err == (
        "error: there is no strategy 'staged' any more\n  where: train.strategy\n"
        "  remedy: write `finetune`; `train.unfreeze` says which share of the blocks it trains\n"
    )
    assert models(workspace) == {}


def test_an_unknown_strategy_is_refused_before_any_work(
    project: Callable[..., Workspace], capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = project(strategy="finetun")
    assert run() == 1
    assert "there is no strategy 'finetun'\n  where: train.strategy\n  remedy: did you mean 'finetune'?" in (
        capfd.readouterr().err
    )
    assert models(workspace) == {}


def test_a_network_from_scratch_without_epochs_is_refused_before_any_work(
    project: Callable[..., Workspace], capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = project(epochs=0, strategy="scratch")
    assert run() == 1
    assert capfd.readouterr().err == (
        "error: a network from scratch cannot be trained in 0 epochs\n  where: train.epochs\n"
        "  remedy: give it epochs; for the head of a pretrained network alone set train.strategy: extract\n"
    )
    assert models(workspace) == {}


def test_a_winner_without_weights_and_without_epochs_is_refused_too(
    project: Callable[..., Workspace], capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever the strategy is called, it would be delivered as random as it began."""
    workspace = project(weights="none", epochs=0)
    assert run() == 1
    assert "error: a network from scratch cannot be trained in 0 epochs\n" in capfd.readouterr().err
    assert models(workspace) == {}


def test_label_counts_are_trained_once_and_those_that_are_too_many_are_left_out(
    project: Callable[..., Workspace],
) -> None:
    workspace = project(strategy="extract", epochs=1, label_counts=[3, 3, 100])
    assert run() == 0
    assert json.loads((workspace.label_curve / "label_counts.json").read_text(encoding="utf-8")) == [3]
    assert read_artifact(workspace.label_curve / "labels-3").provenance["train_images"] == 6
    everything = int((pd.read_parquet(workspace.splits)["split"] == "train").sum())
    assert read_artifact(workspace.finetuned).provenance["train_images"] == everything


def test_no_epochs_are_the_head_alone(project: Callable[..., Workspace]) -> None:
    workspace = project(strategy="finetune", epochs=0)
    assert run() == 0
    assert load_artifact(workspace.finetuned)[0].provenance["epochs"] == 0
    assert pd.read_csv(workspace.training / "curves.csv")["stage"].unique().tolist() == ["head"]


def test_scratch_as_a_strategy_says_that_it_had_no_weights(project: Callable[..., Workspace]) -> None:
    workspace = project(strategy="scratch")
    assert run() == 0
    assert load_artifact(workspace.finetuned)[0].weights == "none"


def test_a_training_that_diverges_names_its_images_and_leaves_no_model(
    project: Callable[..., Workspace], capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = project(strategy="finetune", learning_rate=1e30)
    assert run() == 1
    said = capfd.readouterr().err
    assert "error: the loss is nan in stage 'fine-tuning', epoch 0, step 1, at the rate" in said
    assert "  batch: " in said and "cat/cat_" in said and "where: train.learning_rate" in said
    assert models(workspace) == {} and not workspace.training.exists()


def fitted(workspace: Workspace, logits: np.ndarray) -> tuple[Temperature, Threshold]:
    """Temperature and threshold that all training images' out-of-fold logits give."""
    params, data = load_params(workspace.params), train_set(workspace, CLASSIFICATION)
    assert data.groups is not None
    temperature = fit_temperature(logits, data.labels, data.groups)
    calibrated = softmax_at(logits, temperature.value)
    return temperature, choose_threshold(calibrated, data.labels, data.groups, params.trust.answered_accuracy)


def trusted(workspace: Workspace) -> tuple[Temperature, Threshold]:
    trust = load_artifact(workspace.finetuned)[0].trust
    return trust.temperature, trust.threshold


def test_trust_is_fitted_on_the_out_of_fold_logits_of_every_training_image(project: Callable[..., Workspace]) -> None:
    workspace = project(strategy="extract")
    logits = write_logits(workspace.selection, workspace, seed=5, strength=0.0)
    assert run() == 0
    images = int((pd.read_parquet(workspace.splits)["split"] == "train").sum())
    temperature, threshold = trusted(workspace)
    assert temperature.n_fitted == threshold.n_fitted == images == len(logits)
    assert (temperature, threshold) == fitted(workspace, logits) and temperature.value != 1.0
    assert load_artifact(workspace.finetuned)[0].trust.novelty.images == images


def test_a_class_of_two_training_images_switches_nothing_off(
    make_classes: Callable[..., Path], project: Callable[..., Workspace]
) -> None:
    make_classes({"cat": 30, "dog": 30})
    workspace = project(strategy="extract")
    splits = pd.read_parquet(workspace.splits)
    dogs = splits.index[(splits["split"] == "train") & (splits["label"] == "dog")]
    splits.drop(index=dogs[2:]).to_parquet(workspace.splits)
    logits = write_logits(workspace.selection, workspace, seed=5, strength=0.0)
    assert np.bincount(train_set(workspace, CLASSIFICATION).labels).min() == 2
    assert run() == 0
    temperature, threshold = trusted(workspace)
    assert (temperature, threshold) == fitted(workspace, logits)
    assert temperature.n_fitted == threshold.n_fitted == len(logits) and temperature.value != 1.0
    assert load_artifact(workspace.finetuned)[0].trust.novelty.distance is not None


def search_found(workspace: Workspace, strength: float) -> np.ndarray:
    """Settings that a search found, with their table, which scores the higher the greater ``strength`` is."""
    best = json.loads((workspace.tuning / "best.json").read_text(encoding="utf-8"))
    (workspace.tuning / "best.json").write_text(json.dumps({**best, "train": {"epochs": 1}}))
    return write_logits(workspace.tuning, workspace, seed=7, strength=strength, strategies=("finetune",))


def test_what_a_search_found_is_trusted_by_its_own_table(project: Callable[..., Workspace]) -> None:
    workspace = project(strategy="finetune")
    logits = search_found(workspace, 1.0)
    assert run() == 0
    assert trusted(workspace) == fitted(workspace, logits)
    training = train_set(workspace, CLASSIFICATION)
    assert trusted(workspace) != fitted(workspace, read_logits(workspace.selection / FILE, training, "finetune")[0])


def test_fine_tuning_that_a_search_made_better_than_the_head_is_delivered(project: Callable[..., Workspace]) -> None:
    workspace = project({"extract": [0.8] * 3, "finetune": [0.7] * 3})
    logits = search_found(workspace, 20.0)
    assert run() == 0
    said = json.loads((workspace.training / "strategy.json").read_text(encoding="utf-8"))
    assert said["strategy"] == "finetune" and said["fold_scores"]["finetune"] == [1.0] * 3
    assert load_artifact(workspace.finetuned)[0].provenance["epochs"] == 1
    assert trusted(workspace) == fitted(workspace, logits)


def test_a_head_that_stays_better_than_all_that_was_searched_is_trusted_by_the_selections_table(
    project: Callable[..., Workspace],
) -> None:
    workspace = project({"extract": [1.0] * 3, "finetune": [0.1] * 3})
    search_found(workspace, 0.0)
    assert run() == 0
    said = json.loads((workspace.training / "strategy.json").read_text(encoding="utf-8"))
    assert said["strategy"] == "extract" and 0.1 < np.mean(said["fold_scores"]["finetune"]) < 1
    training = train_set(workspace, CLASSIFICATION)
    assert trusted(workspace) == fitted(workspace, read_logits(workspace.selection / FILE, training, "extract")[0])


def plant_table(workspace: Workspace, trained: dict[str, Any]) -> dict[str, np.ndarray]:
    """Each strategy's own logits, blocks having been trained without the first two of three folds only."""
    data, found = train_set(workspace, CLASSIFICATION), {}
    for seed, strategy in enumerate(trained):
        random = np.random.default_rng(seed)
        right = np.eye(2)[data.labels]
        logits = (4 * (random.normal(size=right.shape) + (1 + seed) * right)).astype(np.float32)
        if strategy != "extract":
            logits[data.folds == 2] = np.nan
        found[strategy] = logits
    out_of_fold_table(found, data).to_parquet(workspace.selection / FILE, index=False)
    return found


@pytest.mark.parametrize("strategy", ["extract", "wise_ft", "finetune"])
def test_trust_is_fitted_on_rows_of_the_delivered_strategy_alone(
    strategy: str, project: Callable[..., Workspace]
) -> None:
    """Where blocks were trained without some folds only, on those: the head's answers are another model's."""
    trained = {name: [0.9 if name == strategy else 0.5] * 2 for name in ("extract", "wise_ft", "finetune")}
    workspace = project(trained, strategy=strategy, epochs=1, label_counts=[])
    logits = plant_table(workspace, trained)
    assert run() == 0
    assert load_artifact(workspace.finetuned)[0].provenance["strategy"] == strategy
    data, params = train_set(workspace, CLASSIFICATION), load_params(workspace.params)
    known = ~np.isnan(logits[strategy]).any(axis=1)
    assert known.all() == (strategy == "extract") and data.groups is not None
    temperature = fit_temperature(logits[strategy][known], data.labels[known], data.groups[known])
    calibrated = softmax_at(logits[strategy][known], temperature.value)
    threshold = choose_threshold(calibrated, data.labels[known], data.groups[known], params.trust.answered_accuracy)
    assert trusted(workspace) == (temperature, threshold) and temperature.n_fitted == known.sum()
    # Planted: the head's rows beside them would give other figures.
    mixed = np.where(np.isnan(logits[strategy]), logits["extract"], logits[strategy])
    assert (fit_temperature(mixed, data.labels, data.groups) == temperature) is (strategy == "extract")


def test_what_a_search_found_is_compared_on_the_folds_that_the_others_were_scored_on(
    project: Callable[..., Workspace],
) -> None:
    """Planted: the search is perfect in the third fold alone, in which nothing else was trained."""
    workspace = project({"extract": [0.9] * 2, "finetune": [0.8] * 2}, epochs=1, label_counts=[])
    logits = search_found(workspace, 0.0)
    data = train_set(workspace, CLASSIFICATION)
    logits[data.folds == 2] = 50 * np.eye(2)[data.labels[data.folds == 2]]
    out_of_fold_table({"finetune": logits}, data).to_parquet(workspace.tuning / FILE, index=False)
    assert run() == 0
    said = json.loads((workspace.training / "strategy.json").read_text(encoding="utf-8"))
    right = logits.argmax(axis=1) == data.labels
    expected = [float(right[data.folds == fold].mean()) for fold in (0, 1)]
    assert said["fold_scores"]["finetune"] == pytest.approx(expected)


def test_where_the_time_is_up_the_head_alone_is_delivered_and_trusted_by_its_own_rows(
    project: Callable[..., Workspace], capfd: pytest.CaptureFixture[str]
) -> None:
    trained = {"extract": [0.5] * 2, "finetune": [0.9] * 2}
    workspace = project(trained, epochs=1, label_counts=[])
    logits = plant_table(workspace, trained)
    workspace.plan.mkdir(parents=True, exist_ok=True)
    (workspace.plan / "finetune.json").write_text(json.dumps({"settings": {}, "budget_s": 0}))
    assert run() == 0
    said = json.loads((workspace.training / "strategy.json").read_text(encoding="utf-8"))
    assert (said["strategy"], said["chosen_by"]) == ("extract", "time_limit")
    assert trusted(workspace) == fitted(workspace, logits["extract"])
    assert "the head alone is delivered" in capfd.readouterr().out


def test_a_table_of_other_images_is_refused(
    project: Callable[..., Workspace], capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = project(strategy="extract")
    path = workspace.selection / FILE
    pd.read_parquet(path).iloc[1:].to_parquet(path)
    assert run() == 1
    assert capfd.readouterr().err.endswith(
        "error: this table is of other training images, or says nothing of 'extract'\n"
        f"  where: {path.relative_to(workspace.root)}\n"
        "  remedy: run `.venv/bin/dvc repro`\n"
    )
