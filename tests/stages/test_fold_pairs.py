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

from graft.config import load_params
from graft.determinism import make_deterministic
from graft.features.images import ImageSet
from graft.select.candidates import TrainSet
from graft.settings import Candidate
from graft.stages import evaluate, finetune, ingest, locate, split, tune, validate
from graft.stages.fold_pairs import _seeded, fold_pairs
from graft.stages.job import Job
from graft.train.devices import fabric_for
from graft.workspace import Workspace
from tests.stages.conftest import write_logits, write_source

ARCH = "shufflenet_v2_x0_5"
SECTIONS = {
    "data": {"source": "../images", "test_fraction": 0.4},
    "zoo": {"candidates": [{"arch": ARCH, "weights": "source", "size": 32}]},
    "train": {"finetune_epochs": 1, "control_steps": 3, "control_seeds": 2},
    "augment": {"policy": "none", "domain": "any"},
    "evaluate": {"bootstrap_samples": 100, "latency_runs": 1},
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


def job(workspace: Workspace, weights: str = "source") -> Job:
    folds = np.arange(12) % 3
    data = TrainSet(ImageSet(Path(), (), ()), np.arange(12) % 2, folds, ("a", "b"))
    return Job(load_params(workspace.params), workspace, Candidate(ARCH, weights, 3, 32), data, 4, fabric_for("cpu"))


def test_the_fold_that_is_scored_on_trains_neither_side(
    workspace_with: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor has it a say in the control's rate."""
    whole = job(Workspace(workspace_with(**SECTIONS)))
    scored: list[tuple[str, Any, Any]] = []

    def score(self: Job, trained: Any, strategy: str, rows: Any, metric: str = "accuracy") -> float:
        scored.append((strategy, trained, rows))
        return 0.5

    # What stands for a network is which images it was trained on.
    monkeypatch.setattr(Job, "train", lambda self, strategy, rows, report=None: rows)
    monkeypatch.setattr(Job, "score", score)
    pairs = fold_pairs(whole, whole.params.train)
    assert [(pair.seed, pair.fold) for pair in pairs] == [(seed, fold) for seed in (0, 1) for fold in (0, 1, 2)]
    each = [scored[start : start + 5] for start in range(0, len(scored), 5)]
    for pair, (transfer, *tries, control) in zip(pairs, each, strict=True):
        test = whole.data.folds == pair.fold
        for strategy, (name, trained, rows) in (("finetune", transfer), ("scratch", control)):
            assert name == strategy and (trained == ~test).all() and (rows == test).all()
        for _, trained, rows in tries:
            assert (trained | rows).sum() == 8 and not ((trained | rows) & test).any() and not (trained & rows).any()


def test_seeds_differ_and_are_the_same_again(workspace_with: Callable[..., Path]) -> None:
    whole = job(Workspace(workspace_with(**SECTIONS)))
    seeds = [_seeded(whole, seed).params.seed for seed in (0, 1, 0)]
    assert seeds[0] == seeds[2] != seeds[1] and whole.params.seed not in seeds


def test_nothing_is_compared_where_nothing_was_transferred(workspace_with: Callable[..., Path]) -> None:
    blank = job(Workspace(workspace_with(**SECTIONS)), "none")
    assert fold_pairs(blank, blank.params.train) == ()


@pytest.mark.slow
def test_workers_find_what_one_after_the_other_finds(workspace: Workspace) -> None:
    make_deterministic(1)
    alone = Job.open(load_params(workspace.params), workspace, fabric_for("cpu"))
    compute = dataclasses.replace(alone.params.compute, mapper="processes", workers=2)
    spread = dataclasses.replace(alone, params=dataclasses.replace(alone.params, compute=compute))
    found = fold_pairs(spread, alone.params.train)
    alone.keeper.clear()  # else the second would only read what the first has trained
    assert found == fold_pairs(alone, alone.params.train)


def test_a_job_in_another_process_is_the_same_but_for_its_device(workspace_with: Callable[..., Path]) -> None:
    whole = job(Workspace(workspace_with(**SECTIONS)))
    make, given = whole.__reduce__()
    again = make(*given)
    assert again.fabric is not whole.fabric and str(again.fabric.device) == "cpu"
    assert dataclasses.replace(again, fabric=whole.fabric) == whole
