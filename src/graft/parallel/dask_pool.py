"""Workers of a Dask cluster: at ``compute.address``, or started on this machine for the length of the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, cast

from graft.core.errors import GraftError
from graft.core.settings import Compute
from graft.parallel.cluster import check_workers, require_reachable, required, unreachable, worker_facts
from graft.parallel.context import WorkerContext
from graft.parallel.mapper import Slots
from graft.parallel.outcomes import Outcome
from graft.parallel.resource_share import share_of

Client = Any  # distributed is untyped

EXAMPLE = "tcp://10.0.0.5:8786"
CONNECT_S = 60.0
# A dead worker's item is retried by the mapper, which knows when nothing else runs.
_SETTINGS = {"distributed.scheduler.allowed-failures": 0, "distributed.admin.large-graph-warning-threshold": "1 GB"}
_LOCAL: dict[str, Any] = {
    "processes": True,
    "threads_per_worker": 1,
    "host": "127.0.0.1",
    "dashboard_address": "127.0.0.1:0",  # the web server cannot be left out
    "scheduler_kwargs": {"dashboard": False},
    "memory_limit": 0,  # the operating system's matter
    "silence_logs": 50,
}


class DaskPool:
    """Tasks of a Dask client, through its :mod:`concurrent.futures` executor.

    Not joblib's Dask backend: in joblib 1.6 it waits for ever for a task whose worker was killed.
    """

    def __init__(self, client: Client, workers: int, context: WorkerContext) -> None:
        from distributed import KilledWorker

        self.workers = workers
        self.died: tuple[type[BaseException], ...] = (KilledWorker,)
        self._executor = client.get_executor(pure=False)
        self._context = context

    def submit(self, slot: int, work: Callable[[Any], Any], item: Any) -> Future[Outcome]:
        """See :class:`graft.parallel.mapper.WorkerPool`."""
        return cast("Future[Outcome]", self._executor.submit(self._context.run, work, item))

    def cancel(self, running: Slots) -> None:
        """See :class:`graft.parallel.mapper.WorkerPool`. A task that a worker has begun goes on there to its end."""
        for future in running:
            future.cancel()


@contextmanager
def dask_pool(compute: Compute, context: WorkerContext) -> Iterator[DaskPool]:
    """A pool on the cluster.

    Raises:
        GraftError: Dask is not installed, or the cluster cannot be reached or used.
    """
    with required("dask", "Dask"):
        import dask
        import distributed

    with ExitStack() as stack:
        if compute.address is None:
            stack.enter_context(dask.config.set(_SETTINGS))
            local = cast(Any, distributed.LocalCluster)
            cluster = stack.enter_context(local(n_workers=share_of(compute).workers, **_LOCAL))
            client = stack.enter_context(cast(Any, distributed.Client)(cluster, set_as_default=False))
        else:
            client = stack.enter_context(_connected(compute.address))
        threads = check_workers(client.run(partial(worker_facts, context.folder), on_error="return"))
        if compute.address is not None:
            context = context.with_threads(compute.threads or threads)
        slots = len(client.scheduler_info(n_workers=-1)["workers"])
        yield DaskPool(client, min(slots, compute.workers or slots), context)


def _connected(address: str) -> Client:
    """A client of the scheduler at ``address``.

    Raises:
        GraftError: no Dask scheduler answers, or a worker runs several tasks at once.
    """
    import distributed

    require_reachable("Dask", address, EXAMPLE)
    try:
        asyncio.run(_identify(address))
        client = cast(Any, distributed.Client)(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise unreachable("Dask", address, error) from None
    for name, worker in client.scheduler_info(n_workers=-1)["workers"].items():
        if worker["nthreads"] > 1:
            client.close()
            raise GraftError(
                f"a Dask worker takes {worker['nthreads']} tasks at once, and they would share one PyTorch",
                where=name,
                remedy="start it with `--nthreads 1`, and as many as the machine shall do at once with `--nworkers`",
            )
    return client


async def _identify(address: str) -> None:
    """Ask the scheduler who it is: a client waits for ever where something listens and says nothing.

    Raises:
        OSError: no Dask scheduler answers; a TimeoutError is one.
    """
    from distributed.core import rpc

    async with cast(Any, rpc)(address) as scheduler:
        await asyncio.wait_for(scheduler.identity(), CONNECT_S)
