"""How many worker processes and threads serve, from the cores that are available."""

from __future__ import annotations

from dataclasses import dataclass

from graft.core.determinism import available_cores

# Decoding and ONNX Runtime release the GIL, so threads of one process use several cores; the Python part of a request
# (3 ms of 16) is done by one thread at a time, so that a second process pays from some four cores on.
_CORES_OF_A_WORKER = 4


@dataclass(frozen=True)
class Capacity:
    """What the service uses.

    Attributes:
        workers: processes.
        threads: requests that one worker computes at the same time.
    """

    workers: int
    threads: int

    @classmethod
    def of_this_machine(cls, workers: int | None = None) -> Capacity:
        """Divide the available cores among ``workers``; None: one worker for every four cores."""
        cores = available_cores()
        workers = workers or -(-cores // _CORES_OF_A_WORKER)
        return cls(workers, max(1, cores // workers))
