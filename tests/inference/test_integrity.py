"""Parts of a model that do not agree are refused before anybody is answered: a planted fault for each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graft.core.errors import WeightsError
from graft.core.files import sha256, write_json
from graft.inference.integrity import check_integrity
from graft.inference.package import version_of
from graft.inference.served_model import ServedModel


def change(path: Path, **values: Any) -> None:
    """Set keys of a JSON file; a dot goes one level down."""
    content = json.loads(path.read_text())
    for key, value in values.items():
        *above, last = key.split(".")
        place = content
        for name in above:
            place = place[name]
        place[last] = value
    write_json(path, content)


def change_artifact(folder: Path, **values: Any) -> None:
    """Change model.json and make the package agree with it again, as somebody who means it does."""
    change(folder / "model.json", **{key.replace("__", "."): value for key, value in values.items()})
    change(folder / "package.json", version=version_of(folder))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def another_onnx(folder: Path, other: Path) -> None:
    shutil.copy(other / "model.onnx", folder / "model.onnx")
    change(folder / "package.json", **{"onnx.sha256": sha256(folder / "model.onnx")})


def other_features(folder: Path) -> None:
    from graft.calibration.novelty import write_reference

    digest = write_reference(folder, np.ones((12, 7), np.float32))
    change_artifact(folder, trust__novelty__sha256=digest)


def no_onnx(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    change(folder / "package.json", onnx={})


def no_safetensors(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"junk")
    change_artifact(folder, sha256=sha256(folder / "model.safetensors"))


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights": (lambda f: flip(f / "model.safetensors"), "the weights are not the ones model.json was written"),
    "weights gone": (lambda f: (f / "model.safetensors").unlink(), "the model's weights are missing"),
    "features": (lambda f: flip(f / "reference.safetensors"), "features are not the ones model.json was"),
    "ONNX": (lambda f: flip(f / "model.onnx"), "the ONNX file is not the one that was packaged"),
    "ONNX gone": (lambda f: (f / "model.onnx").unlink(), "the model's ONNX file is missing"),
    "stray ONNX": (lambda f: change(f / "package.json", onnx={}), "an ONNX file that the package does not know"),
    "card": (
        lambda f: change(f / "model.json", classes=["a", "b", "c"]),
        "model.json is not the one that was packaged",
    ),
    "more classes": (
        lambda f: change_artifact(f, classes=["a", "b", "c", "d"]),
        "model.json names 4 outputs, and the weights are for 3",
    ),
    "class twice": (lambda f: change_artifact(f, classes=["a", "b", "b"]), "model.json names a class twice, or none"),
    "other classes": (
        lambda f: change_artifact(f, classes=["x", "y", "z"]),
        "the ONNX file was exported for another model.json",
    ),
    "size": (lambda f: change_artifact(f, preprocessing__geometry__size=48), "exported for another model.json"),
    "no size": (lambda f: change_artifact(f, preprocessing__geometry__size=0), "in model.json cannot be used: size 0"),
    "crop": (lambda f: change_artifact(f, preprocessing__geometry__crop=2), "in model.json cannot be used: crop 2"),
    "resampling": (
        lambda f: change_artifact(f, preprocessing__geometry__interpolation="area"),
        "cannot be used: interpolation 'area'",
    ),
    "fit": (lambda f: change_artifact(f, preprocessing__geometry__fit="stretch"), "cannot be used: fit 'stretch'"),
    "mean": (lambda f: change_artifact(f, preprocessing__mean=[0.5, 0.5]), "in model.json cannot be used: mean or std"),
    "std": (lambda f: change_artifact(f, preprocessing__std=[0.5, 0.5, 0]), "in model.json cannot be used: std"),
    "no safetensors": (no_safetensors, "the weights cannot be read"),
    "features' length": (other_features, "the ONNX file was exported for another model.json"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_agree_is_refused(packaged: Path, fault: str) -> None:
    damage, message = FAULTS[fault]
    damage(packaged)
    with pytest.raises(WeightsError, match=message) as refused:
        ServedModel.load(packaged)
    assert refused.value.remedy


def test_a_whole_model_is_served(packaged: Path) -> None:
    assert check_integrity(packaged).classes == ("ant", "bee", "wasp")
    assert ServedModel.load(packaged).spec.name == "onnxruntime"


def test_another_models_onnx_file_is_refused_even_where_the_package_names_it(packaged: Path, other: Path) -> None:
    another_onnx(packaged, other)
    with pytest.raises(WeightsError, match="the ONNX file was exported for another model") as refused:
        ServedModel.load(packaged)
    assert refused.value.where == str(packaged / "model.onnx")


def test_torch_is_held_against_the_card_too(packaged: Path) -> None:
    no_onnx(packaged)
    assert ServedModel.load(packaged).spec.name == "torch"
    other_features(packaged)
    with pytest.raises(WeightsError, match="the training images' features have 7 values, and the model's"):
        ServedModel.load(packaged)


def test_an_onnx_file_that_is_none_is_refused(packaged: Path) -> None:
    (packaged / "model.onnx").write_bytes(b"no ONNX")
    change(packaged / "package.json", **{"onnx.sha256": sha256(packaged / "model.onnx")})
    with pytest.raises(WeightsError, match="ONNX Runtime cannot load the model"):
        ServedModel.load(packaged)


def test_a_model_that_was_never_packaged_is_served_by_torch(packaged: Path) -> None:
    (packaged / "package.json").unlink()
    (packaged / "model.onnx").unlink()
    assert ServedModel.load(packaged).spec.name == "torch"
