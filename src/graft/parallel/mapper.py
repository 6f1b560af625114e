"""Parallel map: results in order, failures as values, one serial retry of an item whose worker died."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass
from typing import Any, Protocol

from graft.core.errors import GraftError
from graft.core.progress import track
from graft.parallel.outcomes import KILLED, Done, Failure, Item, Outcome, Result, WorkError, outcome_of

Slots = Mapping["Future[Outcome]", int]


class Mapper(Protocol):
    """Maps a function over items, ``workers`` of them at a time."""

    @property
    def workers(self) -> int:
        """How many items run at once."""

    def map(
        self, work: Callable[[Item], Result], items: Sequence[Item], shown: str
    ) -> Iterator[Done[Result] | Failure]:
        """Outcomes in the order of the items; closing the iterator ends what still runs.

        Args:
            work: a function of a module or a callable object, pickled for each worker: hand over paths and settings
                rather than networks or tensors.
            items: small as well.
            shown: label of the progress bar, such as ``"probing"``.
        """


class SerialMapper:
    """Runs one item after the other in this process, each when its outcome is asked for."""

    workers = 1

    def map(
        self, work: Callable[[Item], Result], items: Sequence[Item], shown: str
    ) -> Iterator[Done[Result] | Failure]:
        """See :class:`Mapper`."""
        return track((outcome_of(work, item) for item in items), shown, total=len(items))


class WorkerPool(Protocol):
    """Workers behind the interface of :mod:`concurrent.futures`, one item per worker slot at a time."""

    workers: int
    died: tuple[type[BaseException], ...]
    """What a future raises when its worker died."""

    def submit(self, slot: int, work: Callable[[Any], Any], item: Any) -> Future[Outcome]:
        """Start an item on a free slot, 0 to ``workers - 1``."""

    def cancel(self, running: Slots) -> None:
        """End the items that still run."""


@dataclass(frozen=True)
class PoolMapper:
    """Maps over the workers of a pool.

    An item whose worker died is tried once more when no other item runs, with all memory there is; a second death
    makes it a :class:`Failure`.
    """

    pool: WorkerPool

    @property
    def workers(self) -> int:
        """How many items run at once."""
        return self.pool.workers

    def map(
        self, work: Callable[[Item], Result], items: Sequence[Item], shown: str
    ) -> Iterator[Done[Result] | Failure]:
        """See :class:`Mapper`."""
        return track(self._outcomes(work, items), shown, total=len(items))

    def _outcomes(self, work: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        waiting, died, retried = deque(range(len(items))), deque[int](), set[int]()
        running: dict[Future[Outcome], tuple[int, int]] = {}
        ended: dict[int, Outcome] = {}
        free = set(range(self.workers))

        def start(number: int) -> None:
            slot = free.pop()
            running[self.pool.submit(slot, work, items[number])] = number, slot

        try:
            for number in range(len(items)):
                while number not in ended:
                    while waiting and free:
                        start(waiting.popleft())
                    if not running:
                        retried.add(died[0])
                        start(died.popleft())
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        finished, slot = running.pop(future)
                        free.add(slot)
                        outcome = self._outcome(future)
                        if isinstance(outcome, Failure) and outcome.was_killed and finished not in retried:
                            died.append(finished)
                        else:
                            ended[finished] = outcome
                yield ended.pop(number)
        finally:
            self.pool.cancel({future: slot for future, (_, slot) in running.items()})

    def _outcome(self, future: Future[Outcome]) -> Outcome:
        try:
            return future.result()
        except self.pool.died:
            return Failure(GraftError(KILLED), was_killed=True)
        except CancelledError:
            raise GraftError(
                "the cluster was lost while it worked",
                where="compute.address",
                remedy="start it again and run again: finished work is kept",
            ) from None
        except (
            Exception
        ) as error:  # such as a module that the worker lacks; the last line of a remote traceback says it
            return Failure(WorkError(type(error).__name__, str(error).rstrip().rpartition("\n")[2]))
