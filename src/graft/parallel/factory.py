"""The mapper that ``compute.mapper`` names.

To add one: a module with a pool, a row in :data:`POOLS`, its name in the settings.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import NoReturn

from graft.core.errors import ConfigError
from graft.core.settings import Compute
from graft.parallel.context import WorkerContext
from graft.parallel.dask_pool import dask_pool
from graft.parallel.loky_pool import loky_pool
from graft.parallel.mapper import Mapper, PoolMapper, SerialMapper, WorkerPool
from graft.parallel.ray_pool import ray_pool
from graft.parallel.resource_share import share_of

POOLS: dict[str, Callable[[Compute, WorkerContext], AbstractContextManager[WorkerPool]]] = {
    "processes": loky_pool,
    "dask": dask_pool,
    "ray": ray_pool,
}


@contextmanager
def mapper_for(compute: Compute) -> Iterator[Mapper]:
    """The mapper of the settings; the workers it starts end with the block.

    Raises:
        ConfigError: an address for a mapper that takes none.
        GraftError: the engine is not installed, or its cluster cannot be reached or used.
    """
    if compute.address is not None and compute.mapper in {"serial", "processes"}:
        raise ConfigError(
            f"compute.address is given, but the mapper {compute.mapper!r} works on this machine alone",
            where="compute.address",
            remedy="set compute.mapper to dask or ray, or leave compute.address out",
        )
    if compute.mapper == "serial":
        yield SerialMapper()
        return
    threads = share_of(compute).threads if compute.address is None else compute.threads
    # The signal handler last: Ray sets its own when it starts.
    with POOLS[compute.mapper](compute, WorkerContext.here(threads)) as pool, exit_on_sigterm():
        yield PoolMapper(pool)


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Raise SystemExit at SIGTERM, so that the workers are ended on the way out."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
