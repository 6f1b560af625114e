"""What the model costs to run: parameters, file size, and the time one image takes from file to probabilities."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graft.artifact import WEIGHTS_FILE

if TYPE_CHECKING:
    from graft.predict import Predictor

WARM_UP = 5


@dataclass(frozen=True)
class Cost:
    """The price of a prediction, with units.

    Attributes:
        parameters: numbers that training could set, all of them.
        size_mb: size of model.safetensors in megabytes of 1,000,000 bytes.
        latency_ms: median time for one image, in milliseconds.
        latency_p95_ms: the time that 95% of single images stay under, in milliseconds.
        runs: timed predictions.
        threads: CPU threads that torch may use.
        device: what it ran on, such as ``cpu``.
    """

    parameters: int
    size_mb: float
    latency_ms: float
    latency_p95_ms: float
    runs: int
    threads: int
    device: str


def measure_cost(predictor: Predictor, folder: Path, images: Sequence[Path], runs: int) -> Cost:
    """Time single predictions as a service makes them: encoded bytes in, probabilities out.

    Decoding, preprocessing and the forward pass are timed, reading the file is not. The first few predictions are
    not counted: they pay for memory and for choosing kernels. Images are taken in turn, as sizes differ.

    Args:
        predictor: the loaded model.
        folder: the artifact's folder.
        images: image files, at least one.
        runs: number of timed predictions.
    """
    import torch

    payloads = [image.read_bytes() for image in images[:runs]]
    milliseconds = []
    for turn in range(WARM_UP + runs):
        payload = payloads[turn % len(payloads)]
        start = time.perf_counter_ns()
        predictor.probabilities([predictor.prepare(payload)])
        milliseconds.append((time.perf_counter_ns() - start) / 1e6)
    timed = milliseconds[WARM_UP:]
    parameters = list(predictor.network.parameters())
    return Cost(
        parameters=sum(parameter.numel() for parameter in parameters),
        size_mb=(folder / WEIGHTS_FILE).stat().st_size / 1e6,
        latency_ms=float(np.median(timed)),
        latency_p95_ms=float(np.quantile(timed, 0.95)),
        runs=runs,
        threads=torch.get_num_threads(),
        device=str(parameters[0].device),
    )
