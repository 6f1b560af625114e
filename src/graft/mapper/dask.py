"""Dask: workers of a scheduler anywhere, or of a cluster on this machine that lasts as long as the work.

On this machine everything listens on loopback only, and there is no dashboard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

from graft.errors import GraftError
from graft.mapper.address import needed_for, require_reachable, unreachable
from graft.mapper.base import Engine, Failure, Killed, Outcome, WorkError
from graft.mapper.checks import checked
from graft.mapper.share import share_of
from graft.mapper.worker import Surroundings, facts, set_for_now
from graft.settings import Compute

# Dask's clients and futures are not typed.
Client = Any
Future = Any

EXAMPLE = "tcp://10.0.0.5:8786"
# Whoever listens may be busy: only who says nothing for so long is taken for no scheduler.
ANSWER_S = 60.0
_SETTINGS = {
    # Who is to blame for a dead worker is found out here (graft.mapper.base), not by trying again and again.
    "distributed.scheduler.allowed-failures": 0,
    # Memory is the operating system's matter: Dask would stop and end workers long before it is short.
    "distributed.worker.memory.terminate": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    "distributed.admin.large-graph-warning-threshold": "1 GB",
}
# Its web server cannot be left out, but it needs no page and no port that others may have.
_SCHEDULER = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


class Dask:
    """Items as tasks of a Dask cluster; one whose worker dies is told as such."""

    def __init__(self, client: Client, slots: int, around: Surroundings) -> None:
        self.slots = slots
        self._client = client
        self._around = around
        self._work: Callable[[Any], Any] | None = None
        self._running: dict[Future, int] = {}

    def begin(self, work: Callable[[Any], Any]) -> None:
        """See :class:`graft.mapper.base.Engine`. The work goes with each item: a worker that dies loses nothing."""
        self._work = work

    def start(self, number: int, item: Any) -> None:
        """See :class:`graft.mapper.base.Engine`."""
        self._running[self._client.submit(self._around.run, self._work, item, pure=False)] = number

    def wait(self) -> list[tuple[int, Outcome]]:
        """See :class:`graft.mapper.base.Engine`."""
        from distributed import wait

        with self._client.as_current():
            ended = cast(Any, wait)(list(self._running), return_when="FIRST_COMPLETED").done
        return [(self._running.pop(future), self._outcome(future)) for future in ended]

    def cancel(self) -> None:
        """See :class:`graft.mapper.base.Engine`. What a thread of a worker has begun ends there by itself."""
        self._client.cancel(list(self._running), force=True)
        self._running.clear()

    def _outcome(self, future: Future) -> Outcome:
        from distributed import CancelledError, KilledWorker

        try:
            outcome: Outcome = future.result()
            return outcome
        except KilledWorker:
            return Killed()
        except CancelledError as error:
            address = self._client.scheduler.address if self._client.scheduler else "unknown"
            raise GraftError(
                f"the Dask cluster was lost while it worked ({error})",
                where=address,
                remedy="start it again and run again: what was finished is kept",
            ) from None
        except Exception as error:  # such as a module that the worker has not
            return Failure(WorkError(type(error).__name__, str(error)))


@contextmanager
def opened(compute: Compute, around: Surroundings) -> Iterator[Engine]:
    """The engine.

    Raises:
        GraftError: Dask is not installed, or the cluster cannot be reached or used.
    """
    with needed_for("Dask", "dask"):
        import dask
        import distributed

    with ExitStack() as stack:
        if compute.address is None:
            workers = share_of(compute).workers
            stack.enter_context(dask.config.set(_SETTINGS))
            stack.enter_context(set_for_now(around.environment))
            cluster = stack.enter_context(
                cast(Any, distributed.LocalCluster)(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    scheduler_kwargs=_SCHEDULER,
                    memory_limit=0,
                    silence_logs=50,
                )
            )
            client = stack.enter_context(cast(Any, distributed.Client)(cluster, set_as_default=False))
        else:
            client = stack.enter_context(_connected(compute.address))
        threads = checked(around.folder, lambda token: _asked(client, token))
        own = around if compute.address is None else around.with_threads(compute.threads or threads)
        slots = len(client.scheduler_info(n_workers=-1)["workers"])
        engine = Dask(client, min(slots, compute.workers or slots), own)
        try:
            yield engine
        finally:
            engine.cancel()


def _connected(address: str) -> Client:
    """A client of the scheduler at ``address``.

    Raises:
        GraftError: nobody answers, or no Dask scheduler does, or a worker works on several tasks at once.
    """
    import distributed

    require_reachable("Dask", address, EXAMPLE)
    try:
        asyncio.run(_answers(address))
        client = cast(Any, distributed.Client)(address, timeout=ANSWER_S, set_as_default=False)
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


async def _answers(address: str) -> None:
    """Ask who is there: a client would wait for ever for somebody who listens and says nothing.

    Raises:
        OSError: no Dask scheduler is; a TimeoutError is one of these.
    """
    from distributed.core import rpc

    async with cast(Any, rpc)(address) as there:
        await asyncio.wait_for(there.identity(), ANSWER_S)


def _asked(client: Client, token: Path) -> dict[str, Any]:
    answers: dict[str, Any] = client.run(facts, token, on_error="return")
    return answers
