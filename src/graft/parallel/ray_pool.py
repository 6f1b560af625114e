"""Workers of a Ray cluster: at ``compute.address``, or started on this machine for the length of the work."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, cast

from graft.core.settings import Compute
from graft.parallel.cluster import check_workers, require_reachable, required, unreachable, worker_facts
from graft.parallel.context import WorkerContext, start_worker
from graft.parallel.mapper import Slots
from graft.parallel.outcomes import Outcome
from graft.parallel.resource_share import ResourceShare, share_of

EXAMPLE = "10.0.0.5:6379, or auto on a machine of the cluster"
_QUIET: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": False}
_LOCAL: dict[str, Any] = {"object_store_memory": 200_000_000, "include_dashboard": False}


class RayPool:
    """Ray tasks as futures of :mod:`concurrent.futures`.

    Not Ray's joblib backend: it has no ``return_as="generator"`` and loses all results when one worker dies.
    """

    def __init__(self, share: ResourceShare, context: WorkerContext) -> None:
        import ray
        from ray import exceptions

        self.workers = share.workers
        self.died: tuple[type[BaseException], ...] = (
            exceptions.WorkerCrashedError,
            exceptions.OutOfMemoryError,
            exceptions.NodeDiedError,
            exceptions.ObjectLostError,
        )
        self._context = context
        self._references: dict[Future[Outcome], Any] = {}
        self._task = ray.remote(_run).options(
            num_cpus=share.threads, num_gpus=1 if share.gpus else 0, max_retries=0, retry_exceptions=False
        )

    def submit(self, slot: int, work: Callable[[Any], Any], item: Any) -> Future[Outcome]:
        """See :class:`graft.parallel.mapper.WorkerPool`."""
        reference = self._task.remote(self._context, work, item)
        future: Future[Outcome] = reference.future()
        self._references[future] = reference
        future.add_done_callback(self._references.pop)
        return future

    def cancel(self, running: Slots) -> None:
        """See :class:`graft.parallel.mapper.WorkerPool`: the processes at work are killed."""
        import ray

        for future in running:
            if future in self._references:
                ray.cancel(self._references[future], force=True)


def _run(context: WorkerContext, work: Callable[[Any], Any], item: Any) -> Outcome:
    start_worker()
    return context.run(work, item)


@contextmanager
def ray_pool(compute: Compute, context: WorkerContext) -> Iterator[RayPool]:
    """A pool on the cluster.

    Raises:
        GraftError: Ray is not installed, or the cluster cannot be reached or used.
    """
    start_worker()  # no telemetry, which Ray decides when it is imported
    if compute.address is None:
        # Loopback only, as on a Mac, with a token of its own: other users of this machine can reach loopback as well.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "180")  # for a busy machine; 30 by default
    with required("ray", "Ray"):
        import ray

    try:
        if compute.address is None:
            share = share_of(compute)
            cpus = share.workers * share.threads
            ray.init(address="local", num_cpus=cpus, num_gpus=len(share.gpus) or None, **_LOCAL, **_QUIET)
            check_workers(_facts(context))
        else:
            _connect(compute.address)
            share = _cluster_share(compute)
            check_workers(_facts(context))
            context = context.with_threads(share.threads)
        yield RayPool(share, context)
    finally:
        ray.shutdown()


def _connect(address: str) -> None:
    import ray

    if address != "auto":
        require_reachable("Ray", address, EXAMPLE)
    try:
        ray.init(address=address, **_QUIET)
    except (OSError, RuntimeError, ValueError) as error:
        hint = "; a cluster that asks for a token needs RAY_AUTH_MODE=token in the environment"
        raise unreachable("Ray", address, error, hint) from None


def _cluster_share(compute: Compute) -> ResourceShare:
    """How many tasks the cluster takes at once, and threads of each."""
    import ray

    has = cast(Any, ray.cluster_resources)()
    cpus, gpus = int(has.get("CPU", 1)), int(has.get("GPU", 0))
    wanted = gpus if compute.device in {"auto", "cuda"} else 0
    workers = compute.workers or wanted or max(1, cpus // (compute.threads or 1))
    return ResourceShare(workers, compute.threads or max(1, cpus // workers), tuple(map(str, range(wanted))))


def _facts(context: WorkerContext) -> dict[str, Any]:
    """The facts of each machine of the cluster, or the exception that asking it raised."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    found: dict[str, Any] = {}
    task, nodes = ray.remote(worker_facts), cast(Any, ray.nodes)
    for node in [one for one in nodes() if one["Alive"] and one["Resources"].get("CPU")]:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        asked = task.options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(context.folder)
        try:
            found[str(node["NodeManagerAddress"])] = ray.get(asked)
        except Exception as error:  # such as that graft is not installed there
            found[str(node["NodeManagerAddress"])] = error
    return found
