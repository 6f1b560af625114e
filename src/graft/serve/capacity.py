"""How many processes and threads serve, from the cores that are really there, unless somebody says otherwise.

Decoding and computing release Python's lock, so that threads of one process use several cores; what Python itself does
for a request (3 ms of 16) is done by one at a time, and a second process pays from some four cores on. One process
also hands every request to whichever thread is free, where two would each have their own queue.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from graft.determinism import available_cores
from graft.errors import ConfigError

WORKERS, THREADS, BATCH, ENGINE = "GRAFT_WORKERS", "GRAFT_THREADS", "GRAFT_BATCH", "GRAFT_ENGINE"
_CORES_OF_A_WORKER = 4


@dataclass(frozen=True)
class Capacity:
    """What one service uses.

    Attributes:
        workers: processes.
        threads: requests that one worker works on at the same time.
        batch: most images of different requests that are run together; 1 runs each by itself.
        run_threads: threads of one run of the network.
        engine: the engine that was asked for; empty for the best that there is.
    """

    workers: int
    threads: int
    batch: int = 1
    run_threads: int = 1
    engine: str = ""

    @classmethod
    def of_this_machine(cls) -> Capacity:
        """By the cores that are available, and by the variables that somebody set.

        Raises:
            ConfigError: a variable is no whole number from 1 on.
        """
        cores = available_cores()
        workers = _number(WORKERS, -(-cores // _CORES_OF_A_WORKER))
        share = max(1, cores // workers)
        batch = _number(BATCH, 1)
        # A batch is one run, so it has all the cores; and it needs requests that wait to be made of.
        run_threads, threads = (share, share + batch) if batch > 1 else (1, share)
        return cls(workers, _number(THREADS, threads), batch, run_threads, os.environ.get(ENGINE, "").strip())


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ConfigError(f"{name}={text} is no whole number from 1 on", remedy=f"set another, or unset {name}")
    return int(text)
