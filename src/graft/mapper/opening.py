"""Which engine maps, by its name in params.yaml; and that what it started ends with the work, also by a signal.

To add an engine, add a module with a function ``opened``, a row to :data:`ENGINES`, and its name to the settings.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NoReturn

from graft.errors import ConfigError
from graft.mapper import dask, processes, ray, serial
from graft.mapper.base import Engine, Mapper
from graft.mapper.share import share_of
from graft.mapper.worker import Surroundings
from graft.settings import Compute

Opened = Callable[[Compute, Surroundings], AbstractContextManager[Engine]]

ENGINES: dict[str, Opened] = {
    "serial": serial.opened,
    "processes": processes.opened,
    "dask": dask.opened,
    "ray": ray.opened,
}
# Those that work on this machine alone.
LOCAL = frozenset({"serial", "processes"})


@contextmanager
def mapper_for(compute: Compute) -> Iterator[Mapper]:
    """The mapper that the settings ask for; what it starts ends with the block.

    Workers take the current folder for theirs.

    Raises:
        ConfigError: an address for an engine that has none.
        GraftError: the engine is not installed, or its cluster cannot be reached or used.
    """
    if compute.address is not None and compute.mapper in LOCAL:
        raise ConfigError(
            f"compute.address is given, but the mapper {compute.mapper!r} works on this machine alone",
            where="compute.address",
            remedy="set compute.mapper to dask or ray, or leave compute.address out",
        )
    threads = compute.threads if compute.address is not None else share_of(compute).threads
    # The signal last: Ray takes it when it begins, and would abort.
    with ENGINES[compute.mapper](compute, Surroundings.here(threads)) as engine, ended_in_order():
        yield Mapper(engine)


@contextmanager
def ended_in_order() -> Iterator[None]:
    """SIGTERM ends this process as Ctrl-C does, so that it takes its workers with it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    sent: list[int] = []

    def end(number: int, frame: Any) -> NoReturn:
        sent.append(number)
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except SystemExit:
        if sent:  # Ray, when it is interrupted while it waits, raises one of its own, with code 1
            raise SystemExit(128 + sent[0]) from None
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
