"""From an artifact to model.onnx beside it: the same network for ONNX Runtime, same model and versions, same bytes."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.core.errors import GraftError
from graft.core.files import atomic_file, sha256
from graft.inference.artifact import CARD_FILE, Artifact
from graft.inference.onnx_names import CARD_KEY, FEATURES, IMAGES, LOGITS

if TYPE_CHECKING:
    import torch
    from torch import nn

    from graft.models.backbone import Network


class ExportError(GraftError):
    """A network that cannot be written as ONNX."""


def export(network: Network, artifact: Artifact, folder: Path, path: Path) -> None:
    """Write ``network`` as ONNX to ``path``: normalised images (n, 3, size, size) -> logits and features.

    The file carries the hash of the card in ``folder``, by which the engine knows that both belong together.

    Raises:
        ExportError: torch cannot write this network down.
    """
    import torch

    size = artifact.preprocessing.geometry.size
    # Two images: an export of one alone takes the number of images for a constant.
    example = (torch.zeros(2, 3, size, size),)
    try:
        with _silenced():
            program = torch.onnx.export(
                _with_features(network).eval(),
                example,
                dynamo=True,
                input_names=[IMAGES],
                output_names=[LOGITS, FEATURES],
                dynamic_shapes={IMAGES: {0: torch.export.Dim("n")}},
                verbose=False,
            )
    except ModuleNotFoundError as error:
        raise ExportError(
            f"the model cannot be written as ONNX: {error.name} is not installed", remedy="pip install 'graft[serve]'"
        ) from None
    except Exception as error:  # the exporter meets what it does not know with exceptions of every kind
        raise ExportError(f"torch cannot write {artifact.arch} as ONNX: {_first_line(error)}") from None
    assert program is not None, "with dynamo a program is returned"
    _forget_origin(program)
    program.model.metadata_props[CARD_KEY] = sha256(folder / CARD_FILE)
    with atomic_file(path) as beside:
        program.save(str(beside), external_data=False)


def _with_features(network: Network) -> nn.Module:
    """The network, giving its features too; they are what novelty compares."""
    from torch import nn

    class WithFeatures(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            features = self.network.features(images)
            return self.network.head(features), features

    return WithFeatures()


def _forget_origin(program: torch.onnx.ONNXProgram) -> None:
    """Drop where each node came from, with this machine's paths in it: the bytes shall depend on the model alone."""
    parts: tuple[Any, ...] = (program.model.graph, *program.model.functions.values())
    for graph in parts:
        graph.metadata_props.clear()
        for value in [*graph.inputs, *graph.outputs]:
            value.metadata_props.clear()
        for node in graph:
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()
    for weight in program.model.graph.initializers.values():
        weight.metadata_props.clear()


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep to itself what the exporter says to its own makers: deprecations inside of it, and its progress.

    Nothing about the model is lost by that: what cannot be exported is an exception, and what was exported is compared
    with torch on images before anybody uses it.
    """
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _first_line(error: Exception) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text[:200]}"
