"""What each candidate takes as it would be served: time of one image, images a second, and memory.

Times are for people and for ``select.max_latency_ms``; the rule itself counts GMACs, so that the same data always
chooses the same winner.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from graft.core.determinism import derive_seed
from graft.core.progress import track
from graft.modalities.preprocessor import Inputs, Preprocessor
from graft.models.backbone import Network
from graft.models.batch import split
from graft.selection.cost.forward_memory import peak_memory_mb

BATCH = 8  # images at once for the throughput
MOST_TURNS, LEAST_TURNS = 15, 3
SECONDS = 1.0  # of timed work after which a candidate is left out of further turns
TOGETHER = 1_000_000_000  # bytes of parameters of the networks that are held, and timed in turns, at once
RESAMPLES = 500


@dataclass(frozen=True)
class Timing:
    """A median over repeats, and the percentile bootstrap's 95% interval of that median."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    """What serving takes on this machine.

    Attributes:
        latency_ms: milliseconds from one normalised image to its logits, batch of 1.
        images_per_s: images a second in batches of :data:`BATCH`.
        memory_mb: see :func:`graft.selection.cost.forward_memory.peak_memory_mb`.
    """

    latency_ms: Timing
    images_per_s: Timing
    memory_mb: float


@dataclass(frozen=True)
class Served:
    """A network that is to be measured: how to build it, its parameters in bytes, what it is fed with."""

    build: Callable[[], Network]
    bytes: float
    preprocessing: Preprocessor


@dataclass
class _Runner:
    """A network under measurement, and its seconds so far: of one image, and of each of a batch."""

    network: Network
    batch: Inputs
    memory_mb: float
    single: list[float] = field(default_factory=list)
    batched: list[float] = field(default_factory=list)

    def turn(self) -> None:
        self.single.append(_seconds(self.network, split(self.batch, 1)[0]))
        self.batched.append(_seconds(self.network, self.batch) / BATCH)

    @property
    def is_done(self) -> bool:
        spent = sum(self.single) + BATCH * sum(self.batched)
        return len(self.single) >= LEAST_TURNS and spent > SECONDS

    def result(self, seed: int) -> Measured:
        milliseconds = [1000 * value for value in self.single]
        rates = [1 / value for value in self.batched]
        return Measured(timing(milliseconds, seed), timing(rates, seed), self.memory_mb)


def measure(candidates: Sequence[Served], device: torch.device, seed: int) -> list[Measured | Exception]:
    """Time all candidates in turns, so that whatever else the machine does befalls all alike.

    Random images do: no classifier's time depends on what it sees. Where a candidate cannot be run, the result is
    what it raised, and the others are measured all the same.
    """
    found: list[Measured | Exception] = []
    for some in _parts(candidates):
        runners = [_prepare(candidate, device, seed) for candidate in some]
        for _ in track(range(MOST_TURNS), f"timing {len(some)} candidates"):
            for place, runner in enumerate(runners):
                if isinstance(runner, _Runner) and not runner.is_done:
                    try:
                        runner.turn()
                    except (MemoryError, RuntimeError) as error:
                        runners[place] = error
        found += [runner.result(seed) if isinstance(runner, _Runner) else runner for runner in runners]
    return found


def _parts(candidates: Sequence[Served]) -> Iterator[list[Served]]:
    part: list[Served] = []
    for candidate in candidates:
        if part and sum(item.bytes for item in part) + candidate.bytes > TOGETHER:
            yield part
            part = []
        part.append(candidate)
    if part:
        yield part


def _prepare(candidate: Served, device: torch.device, seed: int) -> _Runner | Exception:
    """Build the network, count its memory and run it once untimed, which pays for choosing kernels."""
    try:
        network = candidate.build().to(device).eval()
        batch = candidate.preprocessing.collate(candidate.preprocessing.loader.random_rows(BATCH, seed), device)
        memory = peak_memory_mb(network, split(batch, 1)[0])
        _seconds(network, batch)
    except (MemoryError, RuntimeError) as error:
        return error
    return _Runner(network, batch, memory)


@torch.inference_mode()
def _seconds(network: Network, batch: Inputs) -> float:
    begun = time.perf_counter()
    # Bringing the logits back waits for whatever a GPU still has to do.
    network(batch).cpu()
    return time.perf_counter() - begun


def timing(values: Sequence[float], seed: int) -> Timing:
    """The median of ``values`` with its interval; repeats vary, and their mean would follow the worst of them."""
    array = np.asarray(values, dtype=float)
    random = np.random.default_rng(derive_seed(seed, "timing"))
    medians = np.median(random.choice(array, (RESAMPLES, len(array))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return Timing(float(np.median(array)), float(low), float(high))
