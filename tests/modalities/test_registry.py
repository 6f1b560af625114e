"""The seam: a second modality goes through ingest, validate, split and doctor without a line changed there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from graft.core.errors import ConfigError
from graft.data.doctor.doctor import doctor
from graft.modalities import registry
from graft.modalities.registry import find_modality, reserved_columns
from graft.pipeline import ingest, locate, split, validate
from graft.pipeline.execution.runner import run_stage
from tests.modalities.vectors import VectorModality, write_vector, write_vectors


@pytest.fixture
def vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(registry.MODALITIES, "vector", VectorModality())
    return write_vectors(tmp_path / "vectors", {"left": 12, "right": 12})


def test_vectors_are_ingested_validated_and_split(
    vectors: Path, workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (vectors / "left/bad.vec").write_text("one two")
    (vectors / "left/array.npy").write_bytes(b"\x93NUMPY")
    (vectors / "left/photo.png").write_bytes(b"skipped")
    write_vector(vectors / "right/zero.vec", np.full(128, 1e-6))
    first = np.array((vectors / "left/000.vec").read_text().split(), dtype=float)
    write_vector(vectors / "left/scaled.vec", 2 * first)
    root = workspace_with(
        data={"source": "../vectors", "modality": "vector"}, validation={"severity": {"decodable": "quarantine"}}
    )
    for stage in (locate, ingest, validate, split):
        assert run_stage(stage.__name__, stage.run) == 0, capsys.readouterr().err
    assert "passed over: 1 (not a vector by its name), such as left/photo.png" in capsys.readouterr().out

    manifest = pd.read_parquet(root / "data/manifest.parquet").set_index("path")
    assert list(manifest.columns)[4:] == [
        *("bytes", "sha256", "length", "norm", "values_sha256", "signs", "problems", "quarantine")
    ]
    assert manifest.loc["left/bad.vec", "problems"] == "this is not a vector of numbers"
    assert manifest["norm"].notna().sum() == 26 and set(manifest["length"].dropna()) == {128}

    report = json.loads((root / "reports/validation/validation.json").read_text())
    found = {item["check"]: item for item in report["expectations"]}
    assert (found["norm"]["success"], found["norm"]["files"]) == (False, ["right/zero.vec"])
    assert found["duplicates"]["files"] == ["left/000.vec", "left/scaled.vec"]
    assert report["quarantined"] == ["left/array.npy", "left/bad.vec"]
    assert "sharpness" not in found and "labelled" in found
    assert "<code>128 numbers</code>" in (root / "reports/validation/index.html").read_text()

    table = pd.read_parquet(root / "data/splits.parquet").set_index("path")
    assert table.loc["left/000.vec", "group"] == table.loc["left/scaled.vec", "group"]
    assert table.loc["left/000.vec", "split"] == table.loc["left/scaled.vec", "split"]
    assert set(table["split"]) == {"train", "test"} and len(table) == 26


def test_the_doctor_audits_vectors(
    vectors: Path, workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    workspace_with(data={"modality": "vector"})
    assert doctor(str(vectors), as_json=False) == 0
    said = capsys.readouterr().out
    assert "24 images of 2 classes" in said and "Training on this data would go ahead: 20 images to train on" in said


def test_drift_is_measured_on_the_features_that_the_modality_names(
    vectors: Path, workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = workspace_with(data={"source": "../vectors", "modality": "vector"})
    for _ in range(2):
        assert run_stage("ingest", ingest.run) == run_stage("validate", validate.run) == 0
        for file in vectors.rglob("*.vec"):
            write_vector(file, 5 * np.array(file.read_text().split(), dtype=float))
    report = json.loads((root / "reports/validation/validation.json").read_text())
    assert next(item["sources"] for item in report["expectations"] if item["check"] == "drift") == ["norm"]


def test_an_unknown_modality_is_refused_by_name(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_classes({"cat": 6, "dog": 6})
    workspace_with(data={"source": "../images", "modality": "text"})
    assert run_stage("locate", locate.run) == 1
    assert capsys.readouterr().err == (
        "error: there is no modality 'text'\n  where: data.modality\n  remedy: valid names are: auto, image\n"
    )
    with pytest.raises(ConfigError, match="there is no modality 'imgae'") as caught:
        find_modality("imgae")
    assert caught.value.remedy == "did you mean 'image'?"


def test_every_column_that_graft_writes_is_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"path", "sha256", "width", "phash", "pixel_sha256", "problems"} <= reserved_columns()
    assert "norm" not in reserved_columns()
    monkeypatch.setitem(registry.MODALITIES, "vector", VectorModality())
    assert {"norm", "signs"} <= reserved_columns()
