"""Integrity of a packaged model: hashes, classes, preprocessing and the ONNX file must belong together."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graft.core.errors import WeightsError
from graft.core.files import sha256
from graft.inference.artifact import ARTIFACT_FILE, WEIGHTS_FILE, Artifact, read_artifact
from graft.inference.onnx_names import ARTIFACT_KEY
from graft.inference.package import ONNX_FILE, PACKAGE_FILE, check_files, read_package

if TYPE_CHECKING:
    from graft.calibration.novelty import ReferenceFeatures
    from graft.inference.engines import Engine

_REMEDY = "package the model again (`.venv/bin/dvc repro package`), or copy all files of its folder from one place"
_HEAD = "head.weight"
_LONGEST_HEADER = 100 << 20


def check_integrity(folder: Path) -> Artifact:
    """Read model.json in ``folder`` and check the other files against it, without loading a network.

    Raises:
        WeightsError: there is no model, or a part is missing, damaged, or was made for another.
    """
    artifact = read_artifact(folder)
    if wrong := artifact.preprocessing.problem():
        raise WeightsError(
            f"the preprocessing in model.json cannot be used: {wrong}", where=folder / ARTIFACT_FILE, remedy=_REMEDY
        )
    check_files(folder, artifact)
    _check_classes(folder, artifact)
    if (folder / PACKAGE_FILE).exists():
        package = read_package(folder)  # compares model.json's hash with the version
        _check_onnx_file(folder, package.onnx_sha256)
    return artifact


def check_engine(folder: Path, artifact: Artifact, engine: Engine, reference: ReferenceFeatures | None) -> None:
    """Run two random samples, which also warms the engine up, and check the outputs against model.json.

    Raises:
        WeightsError: the engine cannot run it, or gives another number of classes or features, or no numbers.
    """
    preprocessing = artifact.preprocessing
    rows = preprocessing.loader.random_rows(2)
    _check_onnx_artifact(folder, engine)
    try:
        engine.run(rows[:1])
        logits, features = engine.run(rows)
    except Exception as error:  # engines raise exceptions of every kind
        reason = next(iter(str(error).splitlines()), "")[:200]
        raise WeightsError(
            f"the model does not run on {preprocessing.kind}s of {preprocessing.size} {preprocessing.unit}, which "
            f"model.json says: {reason}",
            where=folder,
            remedy=_REMEDY,
        ) from None
    if logits.shape != (2, len(artifact.outputs)):
        raise WeightsError(
            f"model.json names {len(artifact.outputs)} outputs, and the model gives {logits.shape[-1]}",
            where=folder / ARTIFACT_FILE,
            remedy=_REMEDY,
        )
    if not (np.isfinite(logits).all() and np.isfinite(features).all()):
        raise WeightsError(f"the model gives no numbers for {preprocessing.kind}s", where=folder, remedy=_REMEDY)
    if reference is not None and features.shape[1] != reference.features.shape[1]:
        raise WeightsError(
            f"the training images' features have {reference.features.shape[1]} values, and the model's "
            f"{features.shape[1]}",
            where=folder,
            remedy=_REMEDY,
        )


def _check_classes(folder: Path, artifact: Artifact) -> None:
    if len(set(artifact.outputs)) != len(artifact.outputs) or not artifact.outputs:
        raise WeightsError("model.json names a class twice, or none", where=folder / ARTIFACT_FILE, remedy=_REMEDY)
    head = _tensor_shape(folder / WEIGHTS_FILE, _HEAD)
    if head is not None and head[0] != len(artifact.outputs):
        raise WeightsError(
            f"model.json names {len(artifact.outputs)} outputs, and the weights are for {head[0]}",
            where=folder / ARTIFACT_FILE,
            remedy=_REMEDY,
        )


def _tensor_shape(path: Path, tensor: str) -> list[int] | None:
    """A tensor's shape from the header of a safetensors file; None where there is no such tensor."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _LONGEST_HEADER:
                raise ValueError("its header is too long")
            header = json.loads(file.read(length))
        shape: list[int] | None = header[tensor]["shape"] if tensor in header else None
    except (ValueError, TypeError, KeyError, struct.error) as error:
        raise WeightsError(f"the weights cannot be read: {error}", where=path, remedy=_REMEDY) from None
    return shape


def _check_onnx_file(folder: Path, expected: str) -> None:
    """model.onnx exists exactly where package.json has its hash, and has that hash."""
    path = folder / ONNX_FILE
    if not expected:
        if path.exists():
            raise WeightsError("there is an ONNX file that the package does not know", where=path, remedy=_REMEDY)
        return
    if not path.exists():
        raise WeightsError("the model's ONNX file is missing", where=path, remedy=_REMEDY)
    if sha256(path) != expected:
        raise WeightsError(
            "the ONNX file is not the one that was packaged (its sha256 differs)", where=path, remedy=_REMEDY
        )


def _check_onnx_artifact(folder: Path, engine: Engine) -> None:
    """The metadata of model.onnx hold the hash of the model.json that it was exported for."""
    session = getattr(engine, "session", None)
    if session is None:
        return
    made_for = session.get_modelmeta().custom_metadata_map.get(ARTIFACT_KEY)
    if made_for != sha256(folder / ARTIFACT_FILE):
        raise WeightsError(
            "the ONNX file was exported for another model.json (other weights, classes or preprocessing)",
            where=folder / ONNX_FILE,
            remedy=_REMEDY,
        )
