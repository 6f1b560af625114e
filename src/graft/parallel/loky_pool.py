"""Processes of this machine: a loky executor of one process for each worker slot.

One executor of many processes would give up all running items when one process dies, and not say whose died.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from graft.core.settings import Compute
from graft.parallel.context import WorkerContext, start_worker
from graft.parallel.mapper import Slots
from graft.parallel.outcomes import Outcome
from graft.parallel.resource_share import ResourceShare, share_of

if TYPE_CHECKING:
    from loky import ProcessPoolExecutor


class LokyPool:
    """One process per slot, started when it is needed and again after it died."""

    def __init__(self, share: ResourceShare, context: WorkerContext) -> None:
        from loky.process_executor import TerminatedWorkerError

        self.workers = share.workers
        self.died: tuple[type[BaseException], ...] = (TerminatedWorkerError,)
        self._share = share
        self._context = context
        self._executors: dict[int, ProcessPoolExecutor] = {}

    def submit(self, slot: int, work: Callable[[Any], Any], item: Any) -> Future[Outcome]:
        """See :class:`graft.parallel.mapper.WorkerPool`."""
        from loky import BrokenProcessPool, ProcessPoolExecutor

        try:
            return cast("Future[Outcome]", self._executors[slot].submit(self._context.run, work, item))
        except (KeyError, BrokenProcessPool):
            environment = {**self._context.environment, **self._share.variables(slot)}
            self._executors[slot] = ProcessPoolExecutor(
                1, initializer=start_worker, initargs=(os.getpid(),), env=environment
            )
            return cast("Future[Outcome]", self._executors[slot].submit(self._context.run, work, item))

    def cancel(self, running: Slots) -> None:
        """See :class:`graft.parallel.mapper.WorkerPool`: the processes at work are killed."""
        for slot in running.values():
            self._executors.pop(slot).shutdown(kill_workers=True)

    def close(self) -> None:
        """End all processes."""
        while self._executors:
            self._executors.popitem()[1].shutdown(kill_workers=True)


@contextmanager
def loky_pool(compute: Compute, context: WorkerContext) -> Iterator[LokyPool]:
    """A pool whose processes end with the block."""
    pool = LokyPool(share_of(compute), context)
    try:
        yield pool
    finally:
        pool.close()
