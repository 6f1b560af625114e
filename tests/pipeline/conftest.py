"""A workspace that is ready for the stages that train: images taken in and divided, a winner chosen."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from graft.core.workspace import Workspace
from graft.inference.artifact import Artifact, save_artifact
from graft.models.zoo.registry import build_network, builder_for
from graft.pipeline import ingest, split, tune, validate
from graft.pipeline.execution.runner import run_stage
from graft.pipeline.inputs.selection import train_set
from graft.selection.out_of_fold import FILE, out_of_fold_table
from graft.tasks.registry import CLASSIFICATION
from graft.training import checkpoint
from graft.training.trainer import Trainer

ARCH = "shufflenet_v2_x0_5"
SMALL = {
    "zoo": {"candidates": [{"arch": ARCH, "weights": "source", "size": 32}]},
    "select": {"folds": 3},
    "augment": {"policy": "none", "domain": "any"},
    "compute": {"device": "cpu", "threads": 1},
}
TRAIN = {
    "epochs": 2,
    "batch_size": 8,
    "control_steps": 4,
    "control_seeds": 0,
    "label_counts": [3],
    "unfreeze": 0.25,
}


def write_source(workspace: Workspace, size: int = 32) -> None:
    """A model that was pretrained here, as far as anybody can tell."""
    torch.manual_seed(0)
    artifact = Artifact(("a", "b", "c"), ARCH, "none", None, builder_for(ARCH).preprocessing(ARCH, size))
    save_artifact(workspace.source_models / f"{ARCH}-{size}px", artifact, build_network(ARCH, 3))


def write_logits(
    folder: Path,
    workspace: Workspace,
    seed: int,
    strength: float = 4.0,
    strategies: Sequence[str] = ("extract", "wise_ft", "finetune", "scratch"),
) -> np.ndarray:
    """A table of out-of-fold logits as selection and search write it, the same by each strategy, and the logits."""
    data = train_set(workspace, CLASSIFICATION)
    random = np.random.default_rng(seed)
    right = np.eye(len(data.classes))[data.labels]
    logits = (4 * (random.normal(size=right.shape) + strength * right)).astype(np.float32)
    out_of_fold_table(dict.fromkeys(strategies, logits), data).to_parquet(folder / FILE, index=False)
    return logits


@pytest.fixture
def project(make_classes: Callable[..., Path], workspace_with: Callable[..., Path]) -> Callable[..., Workspace]:
    """A workspace that is ready for fine-tuning; settings of `train` are given as keywords.

    ``trained`` is what selection found: for each strategy its scores on the three folds.
    """
    make_classes({"cat": 12, "dog": 12})

    def make(trained: dict[str, Any] | None = None, weights: str = "source", **train: object) -> Workspace:
        root = workspace_with(data={"source": "../images", "split": "hash"}, **{**SMALL, "train": {**TRAIN, **train}})
        if not (root / "data" / "splits.parquet").exists():
            for stage in (ingest, validate, split):
                assert run_stage(stage.__name__, stage.run) == 0
        workspace = Workspace(root)
        if weights == "source":
            write_source(workspace)
        workspace.selection.mkdir(parents=True, exist_ok=True)
        chosen = {"arch": ARCH, "weights": weights, "depth": 3, "size": 32, "blocks": 4, "cv_scores": [0.5]}
        (workspace.selection / "winner.json").write_text(json.dumps({**chosen, "trained": trained or {}}))
        (workspace.selection / "network.json").write_text(json.dumps(chosen))
        write_logits(workspace.selection, workspace, seed=0)
        assert run_stage("tune", tune.run) == 0
        return workspace

    return make


class KilledError(BaseException):
    """Not an Exception: nothing may catch it, as nothing catches a kill."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts steps of training, and ends the stage before number ``at``."""
    counter = {"batches": 0, "at": -1}

    def descend(*given: Any, real: Callable[..., Any] = Trainer._descend) -> Any:
        if counter["batches"] == counter["at"]:
            raise KilledError
        counter["batches"] += 1
        return real(*given)

    monkeypatch.setattr(Trainer, "_descend", descend)
    monkeypatch.setattr(checkpoint, "CheckpointStore", partial(checkpoint.CheckpointStore, seconds=0.0))
    return counter
