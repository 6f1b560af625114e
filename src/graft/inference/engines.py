"""The engines that run a network, in one table: ONNX Runtime on a CPU, torch on a GPU or where there is no other way.

To add one: a class with ``run``, a function that says why it cannot be used, and a row in ``ENGINES``.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from graft.core.errors import ConfigError, WeightsError, did_you_mean
from graft.inference.artifact import Artifact, load_artifact
from graft.inference.onnx_names import FEATURES, IMAGES, LOGITS
from graft.inference.packaged import ONNX_FILE

if TYPE_CHECKING:
    from typing import Any

    import torch
    from numpy.typing import NDArray

    from graft.models.backbone import Network


_GPU = Path("/dev/nvidiactl")  # the driver's own file, of which there is one for all GPUs


class Engine(Protocol):
    """Runs one model; may be called from several threads at once."""

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Prepared images (n, size, size, 3) -> logits (n, classes), features (n, d)."""
        ...


class OnnxEngine:
    """model.onnx by ONNX Runtime on the CPU.

    Whoever calls computes: with one thread per run, as many runs go side by side as there are callers, and nobody waits
    for the slowest part of a divided one.
    """

    def __init__(self, folder: Path, artifact: Artifact, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait take cores away from decoding.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # errors; warnings there are about its own optimisations
        try:
            self.session: Any = onnxruntime.InferenceSession(
                folder / ONNX_FILE, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors have no common parent but this one
            raise WeightsError(
                f"ONNX Runtime cannot load the model: {str(error).splitlines()[0][:200]}",
                where=folder / ONNX_FILE,
                remedy="package the model again, with the versions that are installed now",
            ) from None
        self.preprocessing = artifact.preprocessing

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """See :class:`Engine`."""
        batch = self.preprocessing.normalise_array(images)
        logits, features = self.session.run([LOGITS, FEATURES], {IMAGES: batch})
        return logits, features


class TorchEngine:
    """The weights by torch, on whatever device."""

    def __init__(self, artifact: Artifact, network: Network, device: str) -> None:
        self.preprocessing = artifact.preprocessing
        self.network = network.eval().to(device)
        self.device = device

    @classmethod
    def load(cls, folder: Path, artifact: Artifact, threads: int, device: str) -> TorchEngine:
        """Load the weights in ``folder``. Raises WeightsError as :func:`~graft.inference.artifact.load_artifact`."""
        from graft.core.determinism import make_deterministic

        make_deterministic(threads)
        _, network = load_artifact(folder)
        return cls(artifact, network, device)

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """See :class:`Engine`."""
        import torch

        with torch.inference_mode():
            batch = self.preprocessing.normalise(torch.from_numpy(images).to(self.device))
            features = self.network.features(batch)
            logits = self.network.head(features)
        return _on_cpu(logits), _on_cpu(features)


def _on_cpu(tensor: torch.Tensor) -> NDArray[np.floating]:
    return tensor.float().cpu().numpy()


@dataclass(frozen=True)
class Kind:
    """A row of the table.

    Attributes:
        name: as ``GRAFT_ENGINE`` and ``GET /model`` have it.
        device: where it runs.
        why_not: why it cannot run the model in a folder on this machine, None where it can; imports nothing heavy.
        load: folder, its card, threads of one run -> the engine.
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
    # To ask torch takes two seconds, which would be lost on every machine that has no GPU.
    if not _GPU.exists():
        return "there is no GPU"
    import torch

    return None if torch.cuda.is_available() else "this torch cannot use the GPU"


def _no_onnx(folder: Path) -> str | None:
    if not (folder / ONNX_FILE).is_file():
        return f"there is no {ONNX_FILE} beside the model"
    return None if importlib.util.find_spec("onnxruntime") else "onnxruntime is not installed"


# In the order of preference: the first that can run the model does.
ENGINES: tuple[Kind, ...] = (
    Kind("torch", "cuda", _no_gpu, partial(TorchEngine.load, device="cuda")),
    Kind("onnxruntime", "cpu", _no_onnx, OnnxEngine),
    Kind("torch", "cpu", _no_torch, partial(TorchEngine.load, device="cpu")),
)


def choose(folder: Path, wanted: str = "") -> Kind:
    """The engine for the model in ``folder`` on this machine.

    Args:
        folder: the model's.
        wanted: an engine's name, or empty for the first that can run it.

    Raises:
        ConfigError: no engine has the name ``wanted``.
        WeightsError: none can run the model; the message says why of each.
    """
    names = sorted({kind.name for kind in ENGINES})
    if wanted and wanted not in names:
        raise ConfigError(f"there is no engine {wanted!r}", where="GRAFT_ENGINE", remedy=did_you_mean(wanted, names))
    reasons = []
    for kind in ENGINES:
        if wanted in {"", kind.name}:
            reason = kind.why_not(folder)
            if reason is None:
                return kind
            reasons.append(f"{kind.name} on {kind.device}: {reason}")
    raise WeightsError(
        f"nothing here can run this model ({'; '.join(reasons)})",
        where=folder,
        remedy="package it where onnxruntime and onnxscript are installed, or install torch, torchvision and timm",
    )


def quickest_to_load(folder: Path) -> str:
    """The engine, by its name, for a command that answers and ends; empty: as :func:`choose` prefers.

    ONNX Runtime wherever it can: to import torch takes longer than a thousand images do.
    """
    return "onnxruntime" if _no_onnx(folder) is None else ""
