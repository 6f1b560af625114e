"""What a model costs to run: parameters, GMACs, file size, latency, throughput, load time and memory, with units.

Run as ``python -m graft.evaluation.cost FOLDER THREADS IMAGE...`` it loads a model, answers for the images and
prints its peak memory in bytes. A process of its own, because that of the evaluation holds ten models.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.memory import peak_bytes
from graft.inference.artifact import WEIGHTS_FILE

if TYPE_CHECKING:
    from graft.core.packed_files import StoredFile
    from graft.inference.predictor import Predictor

WARM_UP = 5
RUNS = 30  # timed predictions of single images in a round
# What else runs on a machine comes and goes: the quietest round is told.
ROUNDS = 2
BATCH = 32
# Images that the process answers for which measures memory: of more sizes than one, and soon done.
FEW = 5
_SECONDS = 300


@dataclass(frozen=True)
class PredictionCost:
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


@dataclass(frozen=True)
class Footprint:
    """Peak resident memory in megabytes of 1,000,000 bytes, or None and why it is not known."""

    peak_mb: float | None
    reason: str | None = None


def measure_cost(
    predictor: Predictor, folder: Path, images: Sequence[StoredFile], footprint: Footprint
) -> PredictionCost:
    """Time predictions as a service makes them: encoded bytes in, probabilities out; reading the file is not timed.

    Images are taken in turn, as sizes differ. Loading, single images and a batch take turns for some rounds, so that
    what slows the machine for a while slows all of them; of each the best round is told, and of the single images'
    best round, by its median, also the 95% quantile.

    Args:
        predictor: the loaded model.
        folder: the artifact's folder.
        images: image files, at least one.
        footprint: what memory it takes.
    """
    import torch

    from graft.models.flops import cost_of

    payloads = [image.read_bytes() for image in images[:BATCH]]

    def answer(count: int, first: int = 0) -> None:
        chosen = [payloads[(first + turn) % len(payloads)] for turn in range(count)]
        predictor.predict_batch([predictor.preprocess(payload) for payload in chosen])

    for turn in range(WARM_UP):
        answer(1, turn)
    loads, batches, singles = [], [], []
    for _ in range(ROUNDS):
        loads.append(_milliseconds(lambda: type(predictor).load(folder)))
        singles.append([_milliseconds(lambda turn=turn: answer(1, turn)) for turn in range(RUNS)])  # type: ignore[misc]
        batches.append(_milliseconds(lambda: answer(BATCH)))
    quietest = min(singles, key=lambda timed: float(np.median(timed)))
    parameters, preprocessing = list(predictor.network.parameters()), predictor.artifact.preprocessing
    return PredictionCost(
        parameters=sum(parameter.numel() for parameter in parameters),
        size_mb=(folder / WEIGHTS_FILE).stat().st_size / 1e6,
        latency_ms=float(np.median(quietest)),
        latency_p95_ms=float(np.quantile(quietest, 0.95)),
        runs=RUNS,
        threads=torch.get_num_threads(),
        device=str(parameters[0].device),
        gmacs=cost_of(predictor.network, preprocessing.collate(preprocessing.loader.random_rows(1))).gmacs,
        images_per_s=BATCH / min(batches) * 1e3,
        batch=BATCH,
        load_ms=min(loads),
        peak_memory_mb=footprint.peak_mb,
        reason=footprint.reason,
    )


def _milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - start) / 1e6


def measure_footprint(folder: Path, images: Sequence[StoredFile], threads: int) -> Footprint:
    """Peak memory of a process that loads the model in ``folder`` and answers for the first few images."""
    command = [sys.executable, "-m", "graft.evaluation.cost", str(folder), str(threads)]
    try:
        with tempfile.TemporaryDirectory() as scratch:
            copies = [Path(scratch) / str(place) for place in range(min(FEW, len(images)))]
            for image, copy in zip(images, copies, strict=False):
                copy.write_bytes(image.read_bytes())  # a packed image has no file of its own
            done = subprocess.run([*command, *copies], capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Footprint(None, f"the process that measures it did not end: {error}")
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return Footprint(None, f"the process that measures it failed: {last}")
    return Footprint(int(done.stdout) / 1e6)


def main(folder: str, threads: str, *images: str) -> None:
    """Load, answer, print the peak."""
    from graft.core.determinism import make_deterministic
    from graft.inference.predictor import Predictor

    make_deterministic(int(threads))
    predictor = Predictor.load(Path(folder))
    for image in images:
        predictor.predict_batch([predictor.preprocess(Path(image))])
    print(peak_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
