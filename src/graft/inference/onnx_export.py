"""ONNX export of a network; the same model and versions give the same bytes."""

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
from graft.inference.artifact import ARTIFACT_FILE, Artifact
from graft.inference.onnx_names import ARTIFACT_KEY, FEATURES, LOGITS

if TYPE_CHECKING:
    import torch
    from torch import nn

    from graft.modalities.preprocessor import Inputs
    from graft.models.backbone import Network


class ExportError(GraftError):
    """A network that cannot be exported to ONNX."""


def export(network: Network, artifact: Artifact, folder: Path, path: Path) -> None:
    """Export ``network`` to ONNX: the preprocessor's arrays -> logits (n, classes), features (n, d).

    Args:
        network: in whatever mode; exported in eval mode.
        artifact: model.json, for its inputs.
        folder: holds model.json, whose hash becomes metadata of the file.
        path: the ONNX file to write.

    Raises:
        ExportError: torch cannot export this network, or onnxscript is not installed.
    """
    import torch

    from graft.models.batch import map_tensors

    preprocessing = artifact.preprocessing
    # Two samples: with one, the exporter takes the batch size for a constant.
    rows = preprocessing.loader.random_rows(2)
    example = map_tensors(torch.Tensor.contiguous, preprocessing.collate(rows))
    free = {axis: torch.export.Dim(f"axis{axis}" if axis else "n") for axis in preprocessing.free_axes}
    names = list(preprocessing.arrays(rows))
    try:
        with _silenced(), _quick_to_trace(network):
            program = torch.onnx.export(
                _with_features(network).eval(),
                (example, {}),  # the exporter takes a last mapping for keyword arguments
                dynamo=True,
                input_names=names,
                output_names=[LOGITS, FEATURES],
                dynamic_shapes=(free if isinstance(example, torch.Tensor) else dict.fromkeys(example, free),),
                verbose=False,
            )
    except ModuleNotFoundError as error:
        raise ExportError(
            f"the model cannot be written as ONNX: {error.name} is not installed", remedy="pip install 'graft[serve]'"
        ) from None
    except Exception as error:  # the exporter raises exceptions of every kind
        raise ExportError(f"torch cannot write {artifact.arch} as ONNX: {_first_line(error)}") from None
    assert program is not None, "with dynamo a program is returned"
    _strip_metadata(program)
    program.model.metadata_props[ARTIFACT_KEY] = sha256(folder / ARTIFACT_FILE)
    with atomic_file(path) as beside:
        program.save(str(beside), external_data=False)


def _with_features(network: Network) -> nn.Module:
    """The network with its features as a second output, for novelty detection."""
    from torch import nn

    class WithFeatures(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, batch: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
            features = self.network.features(batch)
            return self.network.head(features), features

    return WithFeatures()


def _strip_metadata(program: torch.onnx.ONNXProgram) -> None:
    """Remove stack traces with this machine's paths, so that the bytes depend on the model alone."""
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
def _quick_to_trace(network: Network) -> Iterator[None]:
    """Give the exporter operations that do not work in place, and no gradients to follow; both are put back.

    It takes every in-place operation apart into many, to write the same in the end: of EfficientNet-Lite0 9.4 s of CPU
    time instead of 5.8 s.
    """
    in_place: list[Any] = [module for module in network.modules() if getattr(module, "inplace", False) is True]
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for module in in_place:
        module.inplace = False
    network.requires_grad_(False)
    try:
        yield
    finally:
        for module in in_place:
            module.inplace = True
        for parameter in trained:
            parameter.requires_grad_(True)


@contextmanager
def _silenced() -> Iterator[None]:
    """Silence the exporter's deprecation warnings and progress; failures are exceptions."""
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
