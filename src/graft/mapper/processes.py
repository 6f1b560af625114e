"""Processes of this machine: each works on one item at a time, and one that dies takes no other's item with it.

Of the pools that exist, concurrent.futures and loky give up every item under way when one process dies, and do not
say whose item it died of; multiprocessing's own waits for it for ever. Here a process has a pipe of its own.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from graft.mapper.base import KILLED, Engine, Failure, Killed, Outcome, WorkError
from graft.mapper.share import Share, share_of
from graft.mapper.worker import Surroundings, prepare, set_for_now
from graft.parent import end_with_parent
from graft.settings import Compute

# Not forked: PyTorch's threads and a GPU's state do not survive that.
_CONTEXT = multiprocessing.get_context("spawn")


@dataclass
class _Worker:
    """A process, the number of the item it works on (None: none), and how many maps it has heard of."""

    process: BaseProcess
    pipe: Connection
    place: int
    number: int | None = None
    maps: int = 0


class Processes:
    """As many processes as there are slots, each begun when it is needed and kept for the items after."""

    def __init__(self, share: Share, around: Surroundings) -> None:
        self.slots = share.workers
        self._share = share
        self._around = around
        self._workers: list[_Worker] = []
        self._work: Callable[[Any], Any] | None = None
        self._maps = 0

    def begin(self, work: Callable[[Any], Any]) -> None:
        """See :class:`graft.mapper.base.Engine`."""
        self._work, self._maps = work, self._maps + 1

    def start(self, number: int, item: Any) -> None:
        """See :class:`graft.mapper.base.Engine`. The work itself is sent to a process once in a map."""
        worker = next((one for one in self._workers if one.number is None), None) or self._new()
        work = None if worker.maps == self._maps else self._work
        worker.number, worker.maps = number, self._maps
        try:
            worker.pipe.send((work, item))
        except (BrokenPipeError, ConnectionResetError):
            return  # it died while it had nothing to do, which `wait` will see

    def wait(self) -> list[tuple[int, Outcome]]:
        """See :class:`graft.mapper.base.Engine`."""
        busy = [worker for worker in self._workers if worker.number is not None]
        ready = wait([end for worker in busy for end in (worker.pipe, worker.process.sentinel)])
        found: list[tuple[int, Outcome]] = []
        for worker in busy:
            if worker.pipe in ready or worker.process.sentinel in ready:
                assert worker.number is not None
                found.append((worker.number, self._answer(worker)))
                worker.number = None
        return found

    def cancel(self) -> None:
        """See :class:`graft.mapper.base.Engine`: those at work are killed, the others wait for the next map."""
        self._end([worker for worker in self._workers if worker.number is not None])

    def close(self) -> None:
        """End all."""
        self._end(self._workers)

    def _end(self, workers: list[_Worker]) -> None:
        """Kill at once, and then see each off: nothing that a worker has is lost, whatever it is at."""
        for worker in workers:
            worker.process.kill()
        for worker in list(workers):
            self._forget(worker)

    def _answer(self, worker: _Worker) -> Outcome:
        try:
            outcome: Outcome = worker.pipe.recv()
            return outcome
        except (EOFError, OSError):
            self._forget(worker)
            return Killed(how_it_ended(worker.process.exitcode))

    def _new(self) -> _Worker:
        place = min(set(range(self.slots)) - {worker.place for worker in self._workers})
        ours, its = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=serve, args=(its, self._around), name=f"graft worker {place}", daemon=True)
        # In its environment from the start: what it imports first reads it.
        with set_for_now({**self._around.environment, **self._share.variables(place)}):
            process.start()
        its.close()
        worker = _Worker(process, ours, place)
        self._workers.append(worker)
        return worker

    def _forget(self, worker: _Worker) -> None:
        worker.process.join()
        worker.pipe.close()
        self._workers.remove(worker)


def how_it_ended(code: int | None) -> str:
    """In words, from an exit code as multiprocessing gives it."""
    if code is None or code == -signal.SIGKILL:
        return KILLED
    if code < 0:
        return f"ended by signal {-code} ({signal.strsignal(-code) or 'unknown'})"
    return f"ended by itself, with exit code {code}"


def serve(pipe: Connection, around: Surroundings) -> None:
    """A worker's life: work on what comes, until nothing can come any more."""
    # Ctrl-C reaches every process of a terminal; the parent alone decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    end_with_parent(parent.pid if parent else None)
    prepare()
    work: Callable[[Any], Any] | None = None
    while True:
        try:
            given, item = pipe.recv()
        except EOFError:
            return
        except Exception as error:  # what was sent cannot be read here, such as a function of a module that is not here
            pipe.send(Failure(WorkError(type(error).__name__, str(error))))
            continue
        work = given or work
        assert work is not None, "a map's work comes with its first item"
        outcome = around.run(work, item)
        try:
            pipe.send(outcome)
        except BrokenPipeError:
            return
        except Exception as error:  # a result that cannot be pickled
            pipe.send(Failure(WorkError(type(error).__name__, f"the result cannot be sent: {error}")))


@contextmanager
def opened(compute: Compute, around: Surroundings) -> Iterator[Engine]:
    """The engine; its processes end with the block."""
    engine = Processes(share_of(compute), around)
    try:
        yield engine
    finally:
        engine.close()
