"""Inference engines: torch on a GPU, ONNX Runtime on a CPU, torch on a CPU.

To add one: a class with ``run``, a function that says why it cannot be used, and a row in ``ENGINES``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from graft.core.errors import WeightsError
from graft.inference.artifact import Artifact, load_artifact
from graft.inference.onnx_names import FEATURES, LOGITS
from graft.inference.package import ONNX_FILE

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from graft.models.backbone import Network


_GPU = Path("/dev/nvidiactl")  # the NVIDIA driver's control device


class Engine(Protocol):
    """Runs one model; thread-safe."""

    def run(self, rows: NDArray[Any]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Forward pass.

        Args:
            rows: loaded samples (n, ...).

        Returns:
            logits (n, classes), and features (n, d), the head's input.
        """
        ...


class OnnxEngine:
    """model.onnx by ONNX Runtime on the CPU, in the caller's thread.

    Args:
        folder: the model's.
        artifact: what model.json says.
        threads: intra-op threads of one run; with 1, runs of several callers go in parallel.

    Raises:
        WeightsError: ONNX Runtime cannot load the file.
    """

    def __init__(self, folder: Path, artifact: Artifact, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads take cores away from decoding.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors
        try:
            self.session: Any = onnxruntime.InferenceSession(
                folder / ONNX_FILE, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors have no other common base
            raise WeightsError(
                f"ONNX Runtime cannot load the model: {str(error).splitlines()[0][:200]}",
                where=folder / ONNX_FILE,
                remedy="package the model again, with the versions that are installed now",
            ) from None
        self.preprocessing = artifact.preprocessing

    def run(self, rows: NDArray[Any]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """See :class:`Engine`."""
        logits, features = self.session.run([LOGITS, FEATURES], self.preprocessing.arrays(rows))
        return logits, features


class TorchEngine:
    """The safetensors weights by torch, on ``device``."""

    def __init__(self, artifact: Artifact, network: Network, device: str) -> None:
        self.preprocessing = artifact.preprocessing
        self.network = network.eval().to(device)
        self.device = device

    @classmethod
    def load(cls, folder: Path, artifact: Artifact, threads: int, device: str) -> TorchEngine:
        """Load the artifact in ``folder``. Raises WeightsError as :func:`~graft.inference.artifact.load_artifact`."""
        from graft.core.determinism import make_deterministic

        make_deterministic(threads)
        _, network = load_artifact(folder)
        return cls(artifact, network, device)

    def run(self, rows: NDArray[Any]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """See :class:`Engine`."""
        import torch

        with torch.inference_mode():
            features = self.network.features(self.preprocessing.collate(rows, self.device))
            logits = self.network.head(features)
        return _on_cpu(logits), _on_cpu(features)


def _on_cpu(tensor: torch.Tensor) -> NDArray[np.floating]:
    return tensor.float().cpu().numpy()


@dataclass(frozen=True)
class EngineSpec:
    """A row of the table.

    Attributes:
        name: as ``GET /model`` shows it.
        device: where it runs.
        why_not: why it cannot run the model in a folder on this machine, None where it can; imports nothing heavy.
        load: folder, its artifact, threads of one run -> the engine.
    """

    name: str
    device: str
    why_not: Callable[[Path], str | None]
    load: Callable[[Path, Artifact, int], Engine]


def _no_torch(_: Path) -> str | None:
    return None if importlib.util.find_spec("torch") else "torch is not installed"


def _no_gpu(folder: Path) -> str | None:
    if reason := _no_torch(folder):
        return reason
    # Checked first: importing torch takes two seconds.
    if not _GPU.exists():
        return "there is no GPU"
    import torch

    return None if torch.cuda.is_available() else "this torch cannot use the GPU"


def _no_onnx(folder: Path) -> str | None:
    if not (folder / ONNX_FILE).is_file():
        return f"there is no {ONNX_FILE} beside the model"
    return None if importlib.util.find_spec("onnxruntime") else "onnxruntime is not installed"


_ONNX = EngineSpec("onnxruntime", "cpu", _no_onnx, OnnxEngine)
_TORCH_GPU = EngineSpec("torch", "cuda", _no_gpu, partial(TorchEngine.load, device="cuda"))
_TORCH_CPU = EngineSpec("torch", "cpu", _no_torch, partial(TorchEngine.load, device="cpu"))
# By throughput: for a service.
ENGINES: tuple[EngineSpec, ...] = (_TORCH_GPU, _ONNX, _TORCH_CPU)
# By start-up time: for a command, as importing torch takes longer than a thousand images.
QUICK_START: tuple[EngineSpec, ...] = (_ONNX, _TORCH_GPU, _TORCH_CPU)


def choose_engine(folder: Path, engines: Sequence[EngineSpec] = ENGINES) -> EngineSpec:
    """The first of ``engines`` that can run the model in ``folder`` on this machine.

    Raises:
        WeightsError: none can; the message says why of each.
    """
    reasons = []
    for spec in engines:
        reason = spec.why_not(folder)
        if reason is None:
            return spec
        reasons.append(f"{spec.name} on {spec.device}: {reason}")
    raise WeightsError(
        f"nothing here can run this model ({'; '.join(reasons)})",
        where=folder,
        remedy="package it where onnxruntime and onnxscript are installed, or install torch, torchvision and timm",
    )
