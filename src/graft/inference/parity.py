"""Parity of ONNX Runtime and torch: model.onnx is packaged only where both predict the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.files import sha256
from graft.core.progress import track
from graft.inference.artifact import Artifact, load_artifact
from graft.inference.engines import OnnxEngine, TorchEngine
from graft.inference.onnx_export import ExportError, export
from graft.inference.package import ONNX_FILE
from graft.inference.predictor import to_predictions
from graft.tasks.registry import find_task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.core.packed_files import StoredFile
    from graft.inference.engines import Engine
    from graft.tasks.base import ParityReport

RANDOM_SAMPLES = 64
_BATCH = 16


def write_onnx(folder: Path, images: Sequence[StoredFile]) -> dict[str, Any]:
    """Write model.onnx into ``folder`` beside the model, if it answers as torch does.

    Args:
        folder: a whole model.
        images: training images to compare on; random pixels are taken where there are none.

    Returns:
        What package.json says: ``sha256`` and the proof, or ``refused`` with the reason, and then no file is left.
    """
    artifact, network = load_artifact(folder)
    path = folder / ONNX_FILE
    try:
        export(network.eval(), artifact, folder, path)
    except ExportError as error:
        return {"refused": error.what}
    loader = artifact.preprocessing.loader
    if images:
        rows, drawn_from = (loader.load(image) for image in images), f"training {artifact.preprocessing.kind}s"
    else:
        rows, drawn_from = (row for row in loader.random_rows(RANDOM_SAMPLES)), "random input (seed 0)"
    shown = track(rows, "comparing ONNX Runtime with torch", total=len(images) or RANDOM_SAMPLES)
    engines = OnnxEngine(folder, artifact, 1), TorchEngine(artifact, network, "cpu")
    report = compare_engines(*engines, list(shown), artifact, drawn_from)
    if not report.passed:
        path.unlink()
        return {"refused": "ONNX Runtime does not answer as torch does", **asdict(report)}
    return {"sha256": sha256(path), **asdict(report)}


def compare_engines(
    onnx: Engine, torch: Engine, images: Sequence[NDArray[Any]], artifact: Artifact, drawn_from: str
) -> ParityReport:
    """Run prepared images through both engines, in batches of several sizes, and compare their answers."""
    batches = [np.stack(images[start:stop]) for start, stop in _batches(len(images))]
    reference, other = (
        np.concatenate([to_predictions(engine.run(batch)[0], None, artifact, None).outputs for batch in batches])
        for engine in (torch, onnx)
    )
    return find_task(artifact.task).parity(reference, other, drawn_from)


def _batches(images: int) -> list[tuple[int, int]]:
    """The first image alone, as a service asks, then batches."""
    edges = [0, *range(min(1, images), images, _BATCH), images]
    return [(start, stop) for start, stop in pairwise(edges) if stop > start]
