"""A camera that does not move makes near copies everywhere: they are the scene, and no copies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from graft.cli.doctor import run_doctor
from graft.pipeline import ingest, split, validate
from graft.pipeline.execution.runner import run_stage

STAGES = (ingest, validate, split)
MESSAGE = (
    "no image is left to test on: 40 of all 40 count as near copies, which"
    " stay together. Near copies that are most of a set are the scene, not copies"
)
REMEDY = (
    "where a camera shows one scene, set it to 0, or to a value below 45 that tells its images apart; frames that"
    " follow one another should then name their clip or day in a table's column `group`. Where they are copies,"
    " add other images"
)


def scene(seed: int) -> np.ndarray:
    """What a camera sees: many edges, of which noise changes none."""
    coarse = np.random.default_rng(seed).integers(30, 226, (16, 16), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC), dtype=np.float64)


def film(folder: Path, view: np.ndarray, count: int, thing: int = 0) -> None:
    """Write images of one view with noise, and a thing of so many pixels somewhere."""
    folder.mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng([number, thing])
        frame = view + rng.normal(0, 3, view.shape)
        top, left = rng.integers(0, 64 - thing, 2)
        frame[top : top + thing, left : left + thing] = 240
        Image.fromarray(frame.clip(0, 255).astype(np.uint8)).save(folder / f"{number:02d}.png")


def run() -> bool:
    """Does the pipeline divide the data?"""
    return all(run_stage(stage.__name__, stage.run) == 0 for stage in STAGES)


def test_one_camera_whose_classes_differ_by_a_thing_is_trained_on(
    tmp_path: Path, workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    film(tmp_path / "images/empty", scene(1), 20)
    film(tmp_path / "images/parcel", scene(1), 20, thing=6)
    root = workspace_with(data={"source": "../images"})
    assert run_doctor("../images", False, None, False, None) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "warning one_scene: expected that most images do not look like images of another class" in said
    assert "nothing has to be done where one camera shows one scene: only equal hashes then count as copies" in said
    assert "32 images to train on, 8 to test on" in said
    assert run()
    assert pd.read_parquet(root / "data/splits.parquet")["group"].nunique() > 30


def test_a_camera_for_each_class_is_refused_with_a_remedy_that_works(
    tmp_path: Path, workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    film(tmp_path / "images/day", scene(1), 20)
    film(tmp_path / "images/night", scene(2), 20)
    workspace_with(data={"source": "../images"})
    assert run_doctor("../images", False, None, False, None) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert f"{MESSAGE} (validation.near_duplicate_distance)" in said
    assert f"remedy: {REMEDY}" in said
    assert not run()
    assert (
        f"error: {MESSAGE}\n  where: validation.near_duplicate_distance\n  remedy: {REMEDY}\n"
        in capsys.readouterr().err
    )
    root = workspace_with(data={"source": "../images"}, validation={"near_duplicate_distance": 0})
    assert run_doctor("../images", False, None, False, None) == 0
    assert run()
    assert pd.read_parquet(root / "data/splits.parquet")["split"].value_counts().to_dict() == {"train": 32, "test": 8}
