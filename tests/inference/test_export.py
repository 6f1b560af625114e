"""The ONNX file: the same bytes for the same model, nothing of this machine in it, and packaged only if it agrees."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from graft.core.files import sha256
from graft.inference import onnx_export as exporting
from graft.inference import parity
from graft.inference.artifact import Artifact, load_artifact
from graft.inference.onnx_export import export
from graft.inference.package import read_package
from graft.inference.parity import compare_engines, write_onnx
from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor
from graft.tasks.base import LEAST_SAME, ParityReport
from graft.tasks.classification.task import TOLERANCE


def test_same_model_same_bytes(whole: Path, tmp_path: Path) -> None:
    artifact, network = load_artifact(whole)
    export(network, artifact, whole, tmp_path / "again.onnx")
    assert sha256(tmp_path / "again.onnx") == sha256(whole / "model.onnx")


def test_the_network_is_left_as_it_was(whole: Path, tmp_path: Path) -> None:
    artifact, network = load_artifact(whole)

    def state() -> list[object]:
        modules = [getattr(module, "inplace", None) for module in network.modules()]
        return [*modules, *(parameter.requires_grad for parameter in network.parameters())]

    next(network.parameters()).requires_grad_(False)
    before = state()
    assert True in before and False in before
    export(network, artifact, whole, tmp_path / "again.onnx")
    assert state() == before


def test_the_file_says_what_goes_in_and_out_and_nothing_of_this_machine(whole: Path) -> None:
    model = onnx.load(whole / "model.onnx")
    onnx.checker.check_model(model, full_check=True)

    def shapes(values: Any) -> dict[str, list[object]]:
        return {
            value.name: [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
            for value in values
        }

    assert shapes(model.graph.input) == {"images": ["n", 3, 32, 32]}
    outputs = shapes(model.graph.output)
    assert outputs["logits"] == ["n", 3] and outputs["features"][0] == "n"
    assert {entry.key: entry.value for entry in model.metadata_props} == {
        "graft.card.sha256": sha256(whole / "model.json")
    }
    data = (whole / "model.onnx").read_bytes()
    assert b"site-packages" not in data and b".py" not in data and str(Path.home()).encode() + b"/" not in data


def test_parity_report_is_in_the_package(whole: Path) -> None:
    said = read_package(whole).onnx
    assert said["sha256"] == sha256(whole / "model.onnx")
    assert (said["images"], said["drawn_from"], said["same_answer"]) == (64, "random input (seed 0)", 1.0)
    assert said["largest_difference"] < 1e-6 < said["tolerance"]


class Planted:
    """An engine that gives each image the logits (mean, 0), and wrong ones for the first ``wrong``."""

    def __init__(self, shift: float = 0.0, wrong: int = 0) -> None:
        self.shift, self.wrong = shift, wrong

    def run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits = np.stack([images.mean(axis=(1, 2, 3)) - 127.0 + self.shift, np.zeros(len(images))], axis=1)
        taken = min(self.wrong, len(images))
        self.wrong -= taken
        logits[:taken] = np.nan
        return logits, logits


PREPROCESSING = ImagePreprocessor(Geometry(2, 1.0, "bilinear"), (0.5,) * 3, (0.5,) * 3)
TWO_CLASSES = Artifact(("a", "b"), "none", "none", None, PREPROCESSING)


@pytest.mark.parametrize(
    ("engine", "holds"),
    [(Planted(), True), (Planted(shift=1e-4), True), (Planted(shift=0.1), False), (Planted(wrong=1), False)],
)
def test_engines_that_differ_are_noticed(engine: Planted, holds: bool) -> None:
    levels = np.linspace(120, 135, 40)
    images = [np.full((2, 2, 3), level, np.uint8) for level in levels]
    found = compare_engines(engine, Planted(), images, TWO_CLASSES, "planted")
    assert found.passed is holds
    assert found.images == 40 and found.drawn_from == "planted"


def test_limits_are_those_that_are_promised() -> None:
    assert LEAST_SAME == 0.999 and TOLERANCE <= 1e-3
    assert ParityReport(1000, "", 0.999, 1e-3, TOLERANCE).passed
    assert not ParityReport(1000, "", 0.998, 0.0, TOLERANCE).passed
    assert not ParityReport(1000, "", 1.0, 2e-3, TOLERANCE).passed


def test_what_does_not_answer_as_torch_does_is_not_packaged(
    packaged: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export gone wrong, planted: the file of another model."""
    monkeypatch.setattr(parity, "export", lambda _, __, ___, path: shutil.copy(other / "model.onnx", path))
    said = write_onnx(packaged, [])
    assert said["refused"] == "ONNX Runtime does not answer as torch does"
    assert "sha256" not in said and not (packaged / "model.onnx").exists()


def test_what_cannot_be_exported_is_said(packaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such operator\nmore")

    monkeypatch.setattr(torch.onnx, "export", fail)
    (packaged / "model.onnx").unlink()
    said = write_onnx(packaged, [])
    assert said == {"refused": "torch cannot write shufflenet_v2_x0_5 as ONNX: RuntimeError: no such operator"}
    assert not (packaged / "model.onnx").exists()


def test_images_are_what_is_compared_where_there_are_any(packaged: Path, tmp_path: Path, monkeypatch: Any) -> None:
    from tests.conftest import write_classes

    images = sorted(write_classes(tmp_path / "images", {"a": 3, "b": 2}).rglob("*.png"))
    file = (packaged / "model.onnx").read_bytes()
    monkeypatch.setattr(parity, "export", lambda _, __, ___, path: path.write_bytes(file))
    said = write_onnx(packaged, images)
    assert (said["images"], said["drawn_from"], said["same_answer"]) == (5, "training images", 1.0)


def test_the_exporter_is_left_as_it_was(whole: Path) -> None:
    import logging
    import sys

    before = (logging.getLogger("torch.onnx").level, sys.stdout, sys.stderr)
    with exporting._silenced():
        pass
    assert (logging.getLogger("torch.onnx").level, sys.stdout, sys.stderr) == before
