"""The model store: one model, one tag; whole or not there; nobody else's model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from graft.core.errors import GraftError, WeightsError
from graft.core.workspace import Workspace
from graft.inference.package import read_package, version_of
from graft.registry.model_store import register
from tests.serving.conftest import package


def stored(home: Path) -> list[Path]:
    """Every version of the model `graft` in the store, half ones too."""
    return sorted(path for path in (home / "models" / "graft").glob("*") if path.is_dir())


def test_registered_model_is_found_by_bentoml_with_its_proof(project: Workspace, store: Path) -> None:
    import bentoml

    tag = register(project)
    model = bentoml.models.get(tag)
    assert str(model.tag) == tag == read_package(project.packaged).tag
    for file in ("model.safetensors", "model.json", "reference.safetensors", "package.json", "model.onnx"):
        assert Path(model.path, file).read_bytes() == (project.packaged / file).read_bytes()
    assert model.info.metadata["metrics"] == {
        "accuracy": 0.93,
        "accuracy_ci95": [0.91, 0.95],
        "n_test": 153,
    }
    assert model.info.metadata["classes"] == ["ant", "bee", "wasp"]
    assert model.info.labels["arch"] == "shufflenet_v2_x0_5"
    assert model.info.labels["created-by"].startswith("graft-")


def test_same_model_is_registered_once(project: Workspace, store: Path) -> None:
    first = register(project)
    made = (stored(store)[0] / "model.yaml").stat().st_mtime_ns
    assert register(project) == first
    assert [path.name for path in stored(store)] == [version_of(project.packaged)]
    assert (stored(store)[0] / "model.yaml").stat().st_mtime_ns == made


def test_other_classes_are_another_model(project: Workspace, store: Path) -> None:
    first = register(project)
    for file in ("model.json", "package.json"):
        path = project.packaged / file
        values = json.loads(path.read_text())
        if file == "model.json":
            values["classes"][0] = "spider"
        else:
            values["version"] = version_of(project.packaged)
        path.write_text(json.dumps(values))
    second = register(project)
    assert first != second
    assert len(stored(store)) == 2
    assert (store / "models" / "graft" / "latest").read_text() == second.split(":")[1]


@pytest.mark.parametrize("missing", ["model.yaml", "model.safetensors", "reference.safetensors", "model.onnx"])
def test_half_a_model_is_replaced(project: Workspace, store: Path, missing: str) -> None:
    import bentoml

    tag = register(project)
    (stored(store)[0] / missing).unlink()
    assert register(project) == tag
    assert [str(model.tag) for model in bentoml.models.list()] == [tag]
    assert (stored(store)[0] / "model.safetensors").is_file()


def test_a_model_that_was_registered_before_it_had_this_onnx_file_is_replaced(
    project: Workspace, store: Path, finetuned: Path
) -> None:
    """The version is that of model.json, which says nothing of ONNX."""
    exported = (project.packaged / "model.onnx").read_bytes()
    with_onnx = (project.packaged / "package.json").read_text()
    package(project.root, finetuned)
    first = register(project)
    assert not (stored(store)[0] / "model.onnx").exists()
    (project.packaged / "model.onnx").write_bytes(exported)
    (project.packaged / "package.json").write_text(with_onnx)
    assert register(project) == first
    assert (stored(store)[0] / "model.onnx").read_bytes() == exported


def test_nothing_packaged_is_said(tmp_path: Path, store: Path) -> None:
    with pytest.raises(WeightsError) as refused:
        register(Workspace(tmp_path))
    assert str(refused.value) == (
        "no model was packaged here\n"
        f"  where: {tmp_path}/models/packaged/package.json\n"
        "  remedy: run `.venv/bin/dvc repro package`, which packages the fine-tuned model if it passes the gate"
    )


def test_damaged_model_is_not_registered(project: Workspace, store: Path, damaged: Callable[[], None]) -> None:
    damaged()
    with pytest.raises(WeightsError, match=r"not the ones model\.json was written for"):
        register(project)
    assert stored(store) == []


def test_store_that_cannot_be_written_is_named(project: Workspace, store: Path) -> None:
    (store / "models").mkdir(parents=True)
    (store / "models" / "graft").write_text("a file where a folder should be")
    with pytest.raises(GraftError, match="the model store cannot be written") as refused:
        register(project)
    assert "BENTOML_HOME" in str(refused.value)
