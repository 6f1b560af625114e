"""A workspace that is ready for the stages that train: images taken in and divided, a winner chosen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graft.stages import ingest, split, tune, validate
from graft.stages.runner import run_stage
from graft.workspace import Workspace

ARCH = "shufflenet_v2_x0_5"
SMALL = {
    "zoo": {"candidates": [{"arch": ARCH, "weights": "none", "size": 32}]},
    "select": {"folds": 3},
    "augment": {"policy": "none", "domain": "any"},
    "compute": {"device": "cpu", "threads": 1},
}
TRAIN = {
    "finetune_epochs": 2,
    "batch_size": 8,
    "control_steps": 4,
    "checkpoint_seconds": 0.0,
    "label_counts": [3],
    "unfreeze_blocks": 1,
}


@pytest.fixture
def project(make_classes: Callable[..., Path], workspace_with: Callable[..., Path]) -> Callable[..., Workspace]:
    """A workspace that is ready for fine-tuning; settings of `train` are given as keywords."""
    make_classes({"cat": 12, "dog": 12})

    def make(probe: dict[str, Any] | None = None, **train: object) -> Workspace:
        root = workspace_with(data={"source": "../images", "split": "hash"}, **{**SMALL, "train": {**TRAIN, **train}})
        if not (root / "data" / "splits.parquet").exists():
            for stage in (ingest, validate, split):
                assert run_stage(stage.__name__, stage.run) == 0
        workspace = Workspace(root)
        workspace.selection.mkdir(parents=True, exist_ok=True)
        chosen = {"arch": ARCH, "weights": "none", "depth": 3, "size": 32, "blocks": 4, "cv_scores": [0.5]}
        (workspace.selection / "winner.json").write_text(json.dumps({**chosen, **({"probe": probe} if probe else {})}))
        assert run_stage("tune", tune.run) == 0
        return workspace

    return make
