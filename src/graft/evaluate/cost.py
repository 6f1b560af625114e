"""What the model costs to run: parameters, GMACs, file size, latency, throughput, load time; with units, best of n."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.artifact import WEIGHTS_FILE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.evaluate.footprint import Footprint
    from graft.images.packed import StoredImage
    from graft.predict import Predictor

WARM_UP = 5
# What else runs on a machine comes and goes: of three rounds the quietest is told.
ROUNDS = 3
BATCH = 32


@dataclass(frozen=True)
class Cost:
    """The price of a prediction, with units.

    Attributes:
        parameters: numbers that training could set, all of them.
        size_mb: size of model.safetensors in megabytes of 1,000,000 bytes.
        latency_ms: median time for one image, from encoded bytes to probabilities, in milliseconds.
        latency_p95_ms: the time that 95% of single images stay under, in milliseconds.
        runs: timed predictions of a round.
        threads: CPU threads that torch may use.
        device: what it ran on, such as ``cpu``.
        gmacs: multiply-accumulates for one image in billions.
        images_per_s: images a second in batches, from encoded bytes to probabilities.
        batch: images of such a batch.
        load_ms: time to load the model from its folder, in milliseconds, the file having been read before.
        peak_memory_mb: most memory that a process takes that loads the model and answers for single images, Python and
            libraries included, in megabytes of 1,000,000 bytes; None where it was not measured.
        reason: why it was not.
    """

    parameters: int
    size_mb: float
    latency_ms: float
    latency_p95_ms: float
    runs: int
    threads: int
    device: str
    gmacs: float
    images_per_s: float
    batch: int
    load_ms: float
    peak_memory_mb: float | None
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        """The section ``cost`` of metrics.json."""
        values = asdict(self)
        return {"latency_p50_ms": values.pop("latency_ms"), "rounds": ROUNDS, **values}


def measure_cost(
    predictor: Predictor, folder: Path, images: Sequence[StoredImage], runs: int, footprint: Footprint
) -> Cost:
    """Time predictions as a service makes them: encoded bytes in, probabilities out.

    Decoding, preprocessing and the forward pass are timed, reading the file is not. The first few predictions are
    not counted: they pay for memory and for choosing kernels. Images are taken in turn, as sizes differ. Loading,
    single images and a batch take turns for three rounds, so that what slows the machine for a while slows all of
    them; of each the best round is told, and of the single images' best round, by its median, also the 95% quantile.

    Args:
        predictor: the loaded model.
        folder: the artifact's folder.
        images: image files, at least one.
        runs: number of timed predictions of a round.
        footprint: what memory it takes.
    """
    import torch

    from graft.zoo.cost import cost_of

    payloads = [image.read_bytes() for image in images[: max(runs, BATCH)]]

    def answer(count: int, first: int = 0) -> None:
        chosen = [payloads[(first + turn) % len(payloads)] for turn in range(count)]
        predictor.answer([predictor.prepare(payload) for payload in chosen])

    for turn in range(WARM_UP):
        answer(1, turn)
    loads, batches, singles = [], [], []
    for _ in range(ROUNDS):
        loads.append(_milliseconds(lambda: type(predictor).load(folder)))
        singles.append(_singles(answer, runs))
        batches.append(_milliseconds(lambda: answer(BATCH)))
    quietest = min(singles, key=lambda timed: float(np.median(timed)))
    parameters = list(predictor.network.parameters())
    return Cost(
        parameters=sum(parameter.numel() for parameter in parameters),
        size_mb=(folder / WEIGHTS_FILE).stat().st_size / 1e6,
        latency_ms=float(np.median(quietest)),
        latency_p95_ms=float(np.quantile(quietest, 0.95)),
        runs=runs,
        threads=torch.get_num_threads(),
        device=str(parameters[0].device),
        gmacs=cost_of(predictor.network, predictor.artifact.preprocessing.geometry.size).gmacs,
        images_per_s=BATCH / min(batches) * 1e3,
        batch=BATCH,
        load_ms=min(loads),
        peak_memory_mb=footprint.peak_mb,
        reason=footprint.reason,
    )


def _singles(answer: Callable[[int, int], None], runs: int) -> NDArray[np.float64]:
    """The time of each of ``runs`` single images, milliseconds."""
    return np.array([_milliseconds(lambda turn=turn: answer(1, turn)) for turn in range(runs)])  # type: ignore[misc]


def _milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - start) / 1e6
