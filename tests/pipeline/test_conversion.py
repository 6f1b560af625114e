"""Long images of more than 8 bits from the folder to the model: fit and range that selection used are the model's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from graft.core.workspace import Workspace
from graft.inference.artifact import read_artifact
from graft.pipeline import augment, finetune, ingest, select, split, tune, validate
from graft.pipeline.execution.runner import run_stage

SETTINGS = {
    "data": {"source": "../images"},
    "zoo": {"candidates": [{"arch": "shufflenet_v2_x0_5", "weights": "none", "size": 32}]},
    "select": {"folds": 3, "finalists": 1},
    "train": {"strategy": "extract", "control": False},
    "augment": {"policy": "none", "domain": "any"},
    "compute": {"device": "cpu", "threads": 1},
}


def long_faint_images(folder: Path) -> None:
    """96 x 32, numbers from 300 to 700, and in the first class up to 800."""
    random = np.random.default_rng(0)
    for label, top in (("more", 800), ("less", 700)):
        (folder / label).mkdir(parents=True)
        for number in range(12):
            blocks = random.integers(300, 600, (4, 12))
            blocks[1:3, :2] = top, 300
            values = np.kron(blocks, np.ones((8, 8))).astype(np.uint16)
            Image.fromarray(values).save(folder / label / f"{number}.png")


def test_the_model_keeps_the_fit_and_the_range_of_its_training_images(
    tmp_path: Path, workspace_with: Callable[..., Path]
) -> None:
    long_faint_images(tmp_path / "images")
    workspace = Workspace(workspace_with(**SETTINGS, preprocess={"fit": "pad"}))
    for stage in (ingest, validate, split, augment, select, tune, finetune):
        assert run_stage(stage.__name__, stage.run) == 0, stage.__name__
    geometry = read_artifact(workspace.finetuned).preprocessing.geometry
    rows = pd.read_parquet(workspace.manifest).merge(pd.read_parquet(workspace.splits)[["path", "split"]], on="path")
    train = rows[rows["split_y"] == "train"]
    assert geometry.fit == "pad" == json.loads((workspace.selection / "winner.json").read_text())["fit"]
    assert geometry.depth_range == (train["depth_low"].min(), train["depth_high"].max()) == (300 / 65535, 800 / 65535)
    board = pd.read_csv(workspace.selection / "leaderboard.csv")
    assert set(board["fit"].dropna()) == {"pad"}
    served = geometry.load((tmp_path / "images" / "more" / "0.png").read_bytes())
    assert len(np.unique(served)) > 20
    assert json.loads((workspace.augmentation / "preview.json").read_text())["views"] == ["whole", "pad"]
    findings = json.loads((workspace.validation / "validation.json").read_text())["expectations"]
    assert not [item["check"] for item in findings if not item["success"]]


def test_the_preview_shows_the_whole_image_beside_each_fit_that_is_tried(
    tmp_path: Path, workspace_with: Callable[..., Path]
) -> None:
    long_faint_images(tmp_path / "images")
    workspace = Workspace(workspace_with(**SETTINGS))
    for stage in (ingest, validate, split, augment):
        assert run_stage(stage.__name__, stage.run) == 0, stage.__name__
    assert json.loads((workspace.augmentation / "preview.json").read_text())["views"] == [
        *("whole", "crop", "pad", "squash")
    ]
    with Image.open(workspace.augmentation / "preview.png") as sheet:
        assert sheet.width == 132 + (4 + 6) * 136
    findings = json.loads((workspace.validation / "validation.json").read_text())["expectations"]
    (broken,) = (item for item in findings if not item["success"])
    assert (broken["check"], broken["count"], broken["details"][0]) == ("proportions", 24, "66.7% is cut away")
