"""validate under DVC: what it compares with outlives its runs, and changes nothing where nothing changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from ruamel.yaml import YAML

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
NAMES = ("locate", "ingest", "validate", "split")


def stages() -> dict[str, Any]:
    """Those of dvc.yaml itself, without their dependencies on code."""
    found: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    kept = {name: found[name] for name in NAMES}
    for name, stage in kept.items():
        stage["cmd"] = f'"{sys.executable}" -m graft.pipeline.{name}'
        stage["deps"] = [path for path in stage.get("deps", []) if not path.startswith("src/")]
    return kept


def dvc(root: Path, *words: str, works: bool = True) -> str:
    environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    command = [sys.executable, "-m", "dvc", *words]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == works, done.stdout + done.stderr
    return done.stdout + done.stderr


def brighten(folder: Path) -> None:
    for file in folder.rglob("*.png"):
        with Image.open(file) as image:
            image.point(lambda level: 128 + level // 2).save(file)


def drift(root: Path) -> Any:
    found = json.loads((root / "reports/validation/validation.json").read_text(encoding="utf-8"))
    return next((item["success"] for item in found["expectations"] if item["check"] == "drift"), None)


def everything(root: Path) -> dict[str, bytes]:
    names = ("data/validated.json", "data/manifest.parquet", "reports/validation/validation.json")
    return {name: (root / name).read_bytes() for name in names}


def test_the_reference_outlives_runs_and_repeats_change_nothing(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path]
) -> None:
    folder = make_classes({"cat": 15, "dog": 15})
    severe: dict[str, Any] = {
        "data": {
            "source": "../images",
            "follow_links": False,
            "label_from": None,
            "modality": "auto",
            "task": "auto",
            "pack": 0,
            "test_fraction": 0.2,
            "train_per_class": None,
        },
        "image": {"depth_scaling": "dataset"},
        "preprocess": {"fit": "auto"},
        "seed": 0,
        "pretrain": {"source": "glyphs"},
    }
    limits = {"near_duplicate_distance": 45}
    root = workspace_with(**severe, validation=limits)
    with (root / "dvc.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump({"stages": stages()}, file)
    dvc(root, "init", "--no-scm", "--quiet")

    dvc(root, "repro")
    assert drift(root) is None
    assert "Running stage" not in dvc(root, "repro")

    brighten(folder)
    dvc(root, "repro")
    assert drift(root) is False
    first = everything(root)
    assert "Running stage" not in dvc(root, "repro")
    dvc(root, "repro", "--force", "--single-item", "validate")
    assert everything(root) == first

    # Refused data is no reference: what passed before stays, and mended data is compared with that.
    brighten(folder)
    workspace_with(**severe, validation={**limits, "severity": {"drift": "critical"}, "max_drift": 0.01})
    assert "the data is refused" in dvc(root, "repro", works=False)
    assert (root / "data/validated.json").read_bytes() == first["data/validated.json"]
    workspace_with(**severe, validation=limits)
    dvc(root, "repro")
    assert drift(root) is False
    assert (root / "data/validated.json").read_bytes() != first["data/validated.json"]
