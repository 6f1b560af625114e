"""What mapping is, whatever does it: items at once, results in order, and a failure is a value.

Results between the processes of one cluster are pickled by the engines, as all of them do: both ends are the same user
running the same code (:mod:`graft.mapper.checks`), and whoever can reach a cluster's ports can run code on it anyway.
No file is ever unpickled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from graft.errors import GraftError, WorkerKilledError
from graft.progress import track

Item = TypeVar("Item")
Result = TypeVar("Result")

KILLED = "was killed, as happens when memory runs out"


@dataclass(frozen=True)
class Done(Generic[Result]):
    """What came of an item."""

    value: Result


@dataclass(frozen=True)
class Failure:
    """An item that came to nothing; the others went on.

    Attributes:
        error: what its work raised.
        was_killed: it took its worker with it, twice.
    """

    error: Exception
    was_killed: bool = False

    def portable(self) -> Failure:
        """The same with an error that any process can read: of classes of one's own only graft's cross as they are."""
        error, plain = self.error, (MemoryError, RuntimeError, ValueError, ArithmeticError)
        if isinstance(error, GraftError):
            alike: Exception = type(error)(error.what, where=error.where, remedy=error.remedy)
        elif isinstance(error, OSError):
            alike = OSError(error.errno, error.strerror or str(error), error.filename)
        elif type(error) in plain:
            alike = type(error)(str(error))
        elif isinstance(error, RuntimeError):
            alike = RuntimeError(str(error))  # such as PyTorch's own for a GPU without memory
        else:
            alike = WorkError(type(error).__name__, str(error))
        return Failure(alike, self.was_killed)


class WorkError(Exception):
    """What work raised on a worker, where that was of a class that does not cross: its name and its text."""

    def __str__(self) -> str:
        return ": ".join(map(str, self.args))


@dataclass(frozen=True)
class Killed:
    """What an engine says of an item whose worker is gone: ``how`` it ended, in words."""

    how: str = KILLED


Outcome = Done[Any] | Failure | Killed


class Engine(Protocol):
    """What runs items; one map at a time. An item is known by its number."""

    slots: int

    def begin(self, work: Callable[[Any], Any]) -> None:
        """What the items that follow are given to."""

    def start(self, number: int, item: Any) -> None:
        """Run an item; called while fewer than ``slots`` run."""

    def wait(self) -> list[tuple[int, Outcome]]:
        """Wait until at least one item has ended: what came of it."""

    def cancel(self) -> None:
        """End what still runs; nothing more is asked of this map."""


@dataclass(frozen=True)
class Mapper:
    """Maps work over items by an engine, which is open for as long as this is used (:mod:`graft.mapper.opening`).

    A worker that dies loses no run: its item waits until all others are done and is tried again by itself, with all
    memory there is. So whoever dies a second time died of its own, and fails alone.
    """

    engine: Engine

    @property
    def workers(self) -> int:
        """How many items run at once."""
        return self.engine.slots

    def map(
        self, work: Callable[[Item], Result], items: Sequence[Item], shown: str
    ) -> Iterator[Done[Result] | Failure]:
        """What comes of each item, in their order; closing the iterator ends what still runs.

        Args:
            work: a function of a module, or an object that can be called. It is pickled, so it should be small: paths
                and settings, not networks or tensors.
            items: small as well.
            shown: beside the progress bar, such as ``"probing"``.
        """
        return _closing(self.engine, track(_outcomes(self.engine, work, items), shown, total=len(items)))


def value_of(outcome: Done[Result] | Failure) -> Result:
    """The result.

    Raises:
        WorkerKilledError: its worker was killed, twice.
        Exception: what the work raised, where it failed.
    """
    if isinstance(outcome, Failure) and outcome.was_killed:
        raise WorkerKilledError(
            f"a worker {outcome.error}",
            where="compute.workers",
            remedy="where memory is short, take fewer workers, a smaller size or a smaller batch",
        )
    if isinstance(outcome, Failure):
        raise outcome.error
    return outcome.value


def outcome_of(work: Callable[[Item], Result], item: Item) -> Done[Result] | Failure:
    """Do the work on one item."""
    try:
        return Done(work(item))
    except Exception as error:
        return Failure(error)


def _closing(engine: Engine, outcomes: Iterator[Done[Result] | Failure]) -> Iterator[Done[Result] | Failure]:
    try:
        yield from outcomes
    finally:
        engine.cancel()


def _outcomes(engine: Engine, work: Callable[[Item], Any], items: Sequence[Item]) -> Iterator[Any]:
    """Keep every slot busy, and give out what is ready in order."""
    waiting, running = deque(range(len(items))), 0
    suspects: deque[int] = deque()
    tried_again: set[int] = set()
    ended: dict[int, Done[Any] | Failure] = {}
    engine.begin(work)
    for number in range(len(items)):
        while number not in ended:
            while waiting and running < engine.slots:
                engine.start(waiting[0], items[waiting.popleft()])
                running += 1
            if not running:
                again = suspects.popleft()
                tried_again.add(again)
                engine.start(again, items[again])
                running += 1
            for finished, outcome in engine.wait():
                running -= 1
                if not isinstance(outcome, Killed):
                    ended[finished] = outcome
                elif finished in tried_again:
                    ended[finished] = Failure(GraftError(outcome.how), was_killed=True)
                else:
                    suspects.append(finished)
        yield ended.pop(number)
