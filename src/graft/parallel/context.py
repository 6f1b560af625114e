"""The context in which a worker runs an item: working directory, thread count, environment.

Nothing heavy is imported here: thread counts are settled before NumPy and PyTorch are loaded.
"""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from graft.core.compat.malloc import keep_freed_memory
from graft.core.compat.openmp import variables_for, wait_briefly
from graft.core.compat.processes import end_with_parent
from graft.core.telemetry import switch_off
from graft.parallel.outcomes import Failure, Outcome, outcome_of, picklable

_INHERITED = ("GRAFT_CACHE", "GRAFT_DEBUG", "GRAFT_OFFLINE")


@dataclass(frozen=True)
class WorkerContext:
    """What an item finds on its worker; the same on every worker.

    Attributes:
        folder: the working directory, absolute; relative paths in settings start there.
        threads: threads that the work may use; None leaves them alone (and PyTorch unimported).
        variables: environment variables, name and value.
    """

    folder: Path
    threads: int | None = None
    variables: tuple[tuple[str, str], ...] = ()

    @classmethod
    def here(cls, threads: int | None) -> WorkerContext:
        """The context of this process."""
        return cls(Path.cwd(), threads, tuple((name, os.environ[name]) for name in _INHERITED if name in os.environ))

    def with_threads(self, threads: int) -> WorkerContext:
        """The same with another thread count."""
        return replace(self, threads=threads)

    @property
    def environment(self) -> dict[str, str]:
        """All environment variables of a worker; progress bars are off, since workers share one terminal."""
        threads = {} if self.threads is None else variables_for(self.threads)
        return {"TTY_COMPATIBLE": "0", **threads, **dict(self.variables)}

    def run(self, work: Callable[[Any], Any], item: Any) -> Outcome:
        """Run one item; what it raises becomes a :class:`Failure` with an exception that can be pickled."""
        with _environment(self.environment), chdir(self.folder):
            outcome = outcome_of(self._with_threads(work), item)
        if not isinstance(outcome, Failure):
            return outcome
        if os.environ.get("GRAFT_DEBUG") == "1":
            traceback.print_exception(outcome.error)
        return Failure(picklable(outcome.error))

    def _with_threads(self, work: Callable[[Any], Any]) -> Callable[[Any], Any]:
        if self.threads is None:
            return work

        def limited(item: Any) -> Any:
            from threadpoolctl import threadpool_limits

            from graft.core.determinism import make_deterministic

            # For each item: PyTorch keeps its count per thread, and a cluster's worker chooses the thread.
            make_deterministic(self.threads)
            with threadpool_limits(self.threads):
                return work(item)

        return limited


def start_worker(parent: int | None = None) -> None:
    """Prepare a process of this machine: ends with ``parent``, ignores Ctrl-C (the parent decides), no telemetry."""
    if parent is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        end_with_parent(parent)
    switch_off()
    wait_briefly()
    keep_freed_memory()


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the block; a cluster's worker serves others afterwards."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
