"""A packaged model: copied whole, named by its content, and refused where its parts do not agree."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path

import pytest

from graft.calibration.fitted_trust import FittedTrust, Novelty
from graft.core.errors import WeightsError
from graft.core.files import write_json
from graft.inference.artifact import Artifact
from graft.inference.package import headline_metrics, read_package, version_of, write_package

CHECKS = ()
PREPROCESSING = {
    "geometry": {"size": 8, "crop": 1.0, "interpolation": "nearest"},
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Card and weights that agree; nobody loads the weights here, so any bytes will do."""
    return make(tmp_path / "finetuned", b"weights")


def make(folder: Path, weights: bytes, classes: tuple[str, ...] = ("a", "b")) -> Path:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(weights)
    card = {
        "format": 1,
        "classes": classes,
        "arch": "resnet18",
        "weights": "none",
        "depth": None,
        "preprocessing": PREPROCESSING,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "provenance": {},
    }
    write_json(folder / "model.json", card)
    return folder


def test_package_is_the_model_and_its_description(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "packaged"
    package = write_package(source, target, "birds", {"accuracy": 0.9, "curve": [1, 2, 3]}, CHECKS)
    assert sorted(path.name for path in target.iterdir()) == ["model.json", "model.safetensors", "package.json"]
    assert (target / "model.safetensors").read_bytes() == b"weights"
    assert package.tag == f"birds:{version_of(source)}"
    assert read_package(target) == package
    assert package.metrics == {"accuracy": 0.9}
    assert re.fullmatch("[0-9a-f]{12}", package.version)


def test_the_training_features_go_with_the_model_and_are_checked(tmp_path: Path) -> None:
    source, target = make(tmp_path / "finetuned", b"weights"), tmp_path / "packaged"
    (source / "reference.safetensors").write_bytes(b"features")
    card = json.loads((source / "model.json").read_text())
    trust = dataclasses.asdict(
        FittedTrust(novelty=Novelty(0.5, 1, 0.95, 40, 12, hashlib.sha256(b"features").hexdigest()))
    )
    write_json(source / "model.json", {**card, "trust": trust})
    write_package(source, target, "graft", {}, CHECKS)
    assert (target / "reference.safetensors").read_bytes() == b"features"
    (source / "reference.safetensors").write_bytes(b"others")
    with pytest.raises(WeightsError, match="training images' features are not the ones") as refused:
        write_package(source, target, "graft", {}, CHECKS)
    assert refused.value.where == str(source / "reference.safetensors")
    assert (target / "reference.safetensors").read_bytes() == b"features"


def test_version_says_weights_and_classes(tmp_path: Path) -> None:
    folders = [
        make(tmp_path / "one", b"1"),
        make(tmp_path / "same", b"1"),
        make(tmp_path / "other weights", b"2"),
        make(tmp_path / "other classes", b"1", ("a", "c")),
    ]
    one, same, other_weights, other_classes = map(version_of, folders)
    assert one == same
    assert len({one, other_weights, other_classes}) == 3


def test_damaged_source_leaves_the_former_package(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "packaged"
    write_package(source, target, "graft", {}, CHECKS)
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    (source / "model.safetensors").write_bytes(b"others")
    with pytest.raises(WeightsError) as refused:
        write_package(source, target, "graft", {"accuracy": 1}, CHECKS)
    assert refused.value.where == str(source / "model.safetensors")
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["finetuned", "packaged"]


def test_missing_source_is_said(tmp_path: Path, source: Path) -> None:
    with pytest.raises(WeightsError, match="there is no model here"):
        write_package(tmp_path / "nowhere", tmp_path / "packaged", "graft", {}, CHECKS)
    (source / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="the model's weights are missing"):
        write_package(source, tmp_path / "packaged", "graft", {}, CHECKS)
    assert not (tmp_path / "packaged").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "graft"}'])
def test_damaged_description_is_said(source: Path, text: str) -> None:
    (source / "package.json").write_text(text)
    with pytest.raises(WeightsError, match="the package's description is damaged"):
        read_package(source)


def test_description_of_another_model_is_refused(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "packaged"
    write_package(source, target, "graft", {}, CHECKS)
    card = json.loads((target / "model.json").read_text())
    card["classes"] = ["b", "a"]
    write_json(target / "model.json", card)
    with pytest.raises(WeightsError, match=r"model\.json is not the one that was packaged"):
        read_package(target)


def test_headline_keeps_what_people_ask_for() -> None:
    metrics = {
        "accuracy": 0.9,
        "accuracy_ci95": [0.8, 1.0],
        "arch": "resnet18",
        "per_class": [1, 2, 3],
        "nested": {"a": 1},
        "absent": None,
    }
    assert headline_metrics(metrics) == {
        "accuracy": 0.9,
        "accuracy_ci95": [0.8, 1.0],
        "arch": "resnet18",
    }


def test_artifact_reads_the_card_made_here(source: Path) -> None:
    from graft.inference.artifact import read_artifact

    assert isinstance(read_artifact(source), Artifact)  # else every test above would test another form of model.json
