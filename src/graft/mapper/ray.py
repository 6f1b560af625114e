"""Ray: tasks of a cluster that runs, or of one on this machine that lasts as long as the work.

On this machine it keeps to loopback, and there is no dashboard.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from graft.mapper.address import needed_for, require_reachable, unreachable
from graft.mapper.base import KILLED, Engine, Failure, Killed, Outcome, WorkError
from graft.mapper.checks import checked
from graft.mapper.share import Share, share_of
from graft.mapper.worker import Surroundings, facts, prepare, set_for_now
from graft.settings import Compute

if TYPE_CHECKING:
    from ray import ObjectRef

    Reference = ObjectRef[Any]

EXAMPLE = "10.0.0.5:6379, or auto on a machine of the cluster"
# Bytes of shared memory; what goes to and fro is settings and scores.
_STORE = 200_000_000
# As on a Mac: its servers listen on loopback only. Read when Ray is imported; else they listen on every network.
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
# For how long Ray waits for its own server: 30 s where nobody says it, which a busy machine may need.
_START = ("RAY_gcs_server_port_wait_time_s", "180")
_AUTHORITY = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_MAY_ASK = "; a cluster that asks for a token needs RAY_AUTH_MODE=token in the environment"


class Ray:
    """Items as tasks of a Ray cluster; one whose process dies is told as such."""

    def __init__(self, share: Share, around: Surroundings) -> None:
        import ray

        self.slots = share.workers
        self._around = around
        gpus = 1 if share.gpus else 0
        # Ray's own retries would not say who took the process with it; see graft.mapper.base.
        self._task = ray.remote(_run).options(
            num_cpus=share.threads, num_gpus=gpus, max_retries=0, retry_exceptions=False
        )
        self._work: Any = None
        self._running: dict[Reference, int] = {}

    def begin(self, work: Callable[[Any], Any]) -> None:
        """See :class:`graft.mapper.base.Engine`. This process keeps the work, and so no worker's death loses it."""
        import ray

        self._work = ray.put(work)

    def start(self, number: int, item: Any) -> None:
        """See :class:`graft.mapper.base.Engine`."""
        self._running[self._task.remote(self._around, self._work, item)] = number

    def wait(self) -> list[tuple[int, Outcome]]:
        """See :class:`graft.mapper.base.Engine`."""
        import ray

        ended, _ = ray.wait(list(self._running), num_returns=1)
        return [(self._running.pop(reference), _outcome(reference)) for reference in ended]

    def cancel(self) -> None:
        """See :class:`graft.mapper.base.Engine`: the processes at work are killed."""
        import ray

        for reference in self._running:
            ray.cancel(reference, force=True)
        self._running.clear()


def _run(around: Surroundings, work: Callable[[Any], Any], item: Any) -> Outcome:
    prepare()
    return around.run(work, item)


def _outcome(reference: Reference) -> Outcome:
    import ray
    from ray import exceptions

    try:
        outcome: Outcome = ray.get(reference)
        return outcome
    except exceptions.WorkerCrashedError:
        return Killed()
    except exceptions.OutOfMemoryError:
        return Killed(KILLED)
    except (exceptions.NodeDiedError, exceptions.ObjectLostError):
        return Killed("was lost with the machine that it ran on")
    except Exception as error:  # such as a module that the worker has not
        # Ray's text is a traceback, whose last line says it.
        return Failure(WorkError(type(error).__name__, str(error).rstrip().rpartition("\n")[2]))


@contextmanager
def opened(compute: Compute, around: Surroundings) -> Iterator[Engine]:
    """The engine.

    Raises:
        GraftError: Ray is not installed, or the cluster cannot be reached or used.
    """
    prepare()  # before Ray is imported, which reads then whether it may report
    with needed_for("Ray", "ray"), set_for_now(_LOOPBACK if compute.address is None else {}):
        import ray

    share = share_of(compute) if compute.address is None else None
    _begin(compute.address, share, around)
    try:
        found = share or _share_there(compute)
        checked(around.folder, _asked)
        engine = Ray(found, around.with_threads(found.threads) if around.threads is None else around)
        try:
            yield engine
        finally:
            engine.cancel()
    finally:
        ray.shutdown()


def _begin(address: str | None, share: Share | None, around: Surroundings) -> None:
    """Start a cluster here, or connect to the one at ``address``.

    Raises:
        GraftError: nobody answers there, or no Ray does.
    """
    import ray

    if address is None and not any(name in os.environ for name in _AUTHORITY):
        # Others on this machine can reach loopback as well. Ray's own way leaves a token in the home folder, and then
        # every cluster that is begun by hand asks for it.
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    logging.getLogger("ray").setLevel(logging.ERROR)
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": False}
    if share is not None:
        own: dict[str, Any] = {"object_store_memory": _STORE, "include_dashboard": False}
        # Ray's processes find modules where this one does.
        paths = os.pathsep.join(path for path in sys.path if path)
        patience = {_START[0]: os.environ.get(*_START)}
        with set_for_now({**patience, **around.environment, "PYTHONPATH": paths}):
            cpus, gpus = share.workers * share.threads, len(share.gpus) or None
            ray.init(address="local", num_cpus=cpus, num_gpus=gpus, **own, **quiet)
        return
    assert address is not None, "without a share of this machine there is an address"
    if address != "auto":
        require_reachable("Ray", address, EXAMPLE)
    try:
        ray.init(address=address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        raise unreachable("Ray", address, error, _MAY_ASK) from None


def _share_there(compute: Compute) -> Share:
    """How many tasks of how many threads the cluster takes at once."""
    import ray

    has = cast(Any, ray.cluster_resources)()
    cpus, gpus = int(has.get("CPU", 1)), int(has.get("GPU", 0))
    wanted = gpus if compute.device in {"auto", "cuda"} else 0
    fitting = compute.workers or wanted or max(1, cpus // (compute.threads or 1))
    threads = compute.threads or max(1, cpus // fitting)
    return Share(fitting, threads, tuple(map(str, range(wanted))))


def _asked(token: Path) -> dict[str, Any]:
    """The facts of each machine of the cluster."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    answers: dict[str, Any] = {}
    task, nodes = ray.remote(facts), cast(Any, ray.nodes)
    for node in [one for one in nodes() if one["Alive"] and one["Resources"].get("CPU")]:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        name = str(node["NodeManagerAddress"])
        try:
            answers[name] = ray.get(task.options(num_cpus=0, max_retries=0, scheduling_strategy=there).remote(token))
        except Exception as error:  # such as that there is no graft
            answers[name] = error
    return answers
