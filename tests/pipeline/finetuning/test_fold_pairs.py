"""Winner and control trained again in every fold: which images each sees, and what reaches the verdict."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from graft.core.config import load_params
from graft.core.determinism import make_deterministic
from graft.core.settings import Candidate
from graft.core.workspace import Workspace
from graft.features.cache import ArrayCache
from graft.features.image_cache import ImageSet
from graft.pipeline import evaluate, finetune, ingest, locate, split, tune, validate
from graft.pipeline.finetuning.fold_pairs import fold_pairs
from graft.pipeline.finetuning.inputs import Finetuning, resolve
from graft.pipeline.inputs.selection import selection_inputs
from graft.pipeline.inputs.winner import Winner
from graft.selection.candidate_training import CandidateTrainer
from graft.selection.finalists import trainer_for
from graft.selection.inputs import TrainSet
from graft.training.auto_strategy import StrategyChoice
from graft.training.checkpoint import CheckpointStore
from tests.pipeline.conftest import write_logits, write_source

ARCH = "shufflenet_v2_x0_5"
SECTIONS = {
    "data": {"source": "../images", "test_fraction": 0.4},
    "zoo": {"candidates": [{"arch": ARCH, "weights": "source", "size": 32}]},
    "train": {"epochs": 1, "control_steps": 3, "control_seeds": 2},
    "augment": {"policy": "none", "domain": "any"},
    "compute": {"threads": 1},
}


@pytest.fixture
def workspace(workspace_with: Callable[..., Path], make_classes: Callable[..., Path]) -> Workspace:
    """Divided images, a source model, and what selection chose."""
    make_classes({"cat": 14, "dog": 14})
    workspace = Workspace(workspace_with(**SECTIONS))
    for stage in (locate, ingest, validate, split):
        stage.run(load_params(workspace.params), workspace)
    write_source(workspace)
    chosen = {"arch": ARCH, "weights": "source", "size": 32, "depth": 3, "blocks": 4}
    workspace.selection.mkdir(parents=True)
    (workspace.selection / "winner.json").write_text(json.dumps(chosen))
    write_logits(workspace.selection, workspace, seed=0)
    tune.run(load_params(workspace.params), workspace)
    return workspace


def test_every_fold_and_seed_once_and_the_verdict_hears_of_it(workspace: Workspace) -> None:
    params = load_params(workspace.params)
    finetune.run(params, workspace)
    table = pd.read_csv(workspace.training / "fold_pairs.csv")
    assert list(zip(table["seed"], table["fold"], strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    splits = pd.read_parquet(workspace.splits).query("split == 'train'")
    sizes = splits.groupby("fold").size()
    assert (table["test_images"] == table["fold"].map(sizes)).all()
    assert (table["train_images"] + table["test_images"] == len(splits)).all()
    assert table[["transfer", "scratch"]].min().min() >= 0 and table[["transfer", "scratch"]].max().max() <= 1
    evaluate.run(params, workspace)
    told = json.loads((workspace.evaluation / "metrics.json").read_text())["transfer"]
    assert told["control_budget"]["images"] == len(splits) and told["control_budget"]["steps"] >= 3
    expected = (table["transfer"] - table["scratch"]).mean()
    assert told["folds"]["difference"] == pytest.approx(expected) and told["folds"]["seeds"] == 2


def resolved(workspace: Workspace, weights: str = "source") -> Finetuning:
    """The stage's work for twelve images in three folds, of which nothing is read."""
    params = load_params(workspace.params)
    data = TrainSet(ImageSet(Path(), (), ()), np.arange(12) % 2, np.arange(12) % 3, ("a", "b"))
    given = selection_inputs(data, params, workspace.source_models, ArrayCache(workspace.cache))
    winner = Winner(Candidate(ARCH, weights, 3, 32), 3, 4, {})
    write_source(workspace)
    trainer = trainer_for(winner.candidate, winner.depth, given)
    choice, nothing = StrategyChoice("finetune", "auto", ""), np.zeros((12, 2), np.float32)
    kept = CheckpointStore(workspace.checkpoints)
    return Finetuning(winner, trainer, params.train, choice, {}, nothing, params.trust, params.compute, kept, "")


def test_the_fold_that_is_scored_on_trains_neither_side(
    workspace_with: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor has it a say in the control's rate."""
    whole = resolved(Workspace(workspace_with(**SECTIONS)))
    scored: list[tuple[str, Any, Any]] = []

    def score(self: CandidateTrainer, trained: Any, strategy: str, rows: Any, scorer: Any) -> float:
        scored.append((strategy, trained, rows))
        return 0.5

    # What stands for a network is which images it was trained on.
    monkeypatch.setattr(CandidateTrainer, "fit", lambda self, strategy, rows, **other: rows)
    monkeypatch.setattr(CandidateTrainer, "score", score)
    pairs = fold_pairs(whole)
    assert [(pair.seed, pair.fold) for pair in pairs] == [(seed, fold) for seed in (0, 1) for fold in (0, 1, 2)]
    each = [scored[start : start + 5] for start in range(0, len(scored), 5)]
    for pair, (*tries, transfer, control) in zip(pairs, each, strict=True):
        test = whole.trainer.data.folds == pair.fold
        for strategy, (name, trained, rows) in (("finetune", transfer), ("scratch", control)):
            assert name == strategy and (trained == ~test).all() and (rows == test).all()
        for _, trained, rows in tries:
            assert (trained | rows).sum() == 8 and not ((trained | rows) & test).any() and not (trained & rows).any()


def test_seeds_differ_and_decide_random_weights_too(workspace_with: Callable[..., Path]) -> None:
    whole = resolved(Workspace(workspace_with(**SECTIONS)))
    other = whole.with_seed(7).trainer
    assert other.seed == other.start("scratch").weights.seed == 7 != whole.trainer.seed


def test_nothing_is_compared_where_nothing_was_transferred(workspace_with: Callable[..., Path]) -> None:
    assert fold_pairs(resolved(Workspace(workspace_with(**SECTIONS)), "none")) == ()


@pytest.mark.slow
def test_workers_find_what_one_after_the_other_finds(workspace: Workspace) -> None:
    make_deterministic(1)
    alone = resolve(load_params(workspace.params), workspace)
    compute = dataclasses.replace(alone.compute, mapper="processes", workers=2)
    found = fold_pairs(dataclasses.replace(alone, compute=compute))
    alone.checkpoints.clear()  # else the second would only read what the first has trained
    assert found == fold_pairs(alone)
