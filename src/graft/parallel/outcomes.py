"""The outcome of one item of a parallel map: its result, or its failure as a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from graft.core.errors import WorkerKilledError

Item = TypeVar("Item")
Result = TypeVar("Result")

KILLED = "was killed, as happens when memory runs out"


@dataclass(frozen=True)
class Done(Generic[Result]):
    """The result of an item."""

    value: Result


@dataclass(frozen=True)
class Failure:
    """The failure of an item; the other items are not affected.

    Attributes:
        error: the exception that the work raised.
        was_killed: its worker died, twice.
    """

    error: Exception
    was_killed: bool = False


Outcome = Done[Any] | Failure


class WorkError(Exception):
    """Stands for an exception of a worker that cannot be pickled: its class name and its text."""

    def __str__(self) -> str:
        return ": ".join(map(str, self.args))


def outcome_of(work: Callable[[Item], Result], item: Item) -> Done[Result] | Failure:
    """Call ``work`` on one item and catch what it raises."""
    try:
        return Done(work(item))
    except Exception as error:
        return Failure(error)


def value_of(outcome: Done[Result] | Failure) -> Result:
    """The result.

    Raises:
        WorkerKilledError: the worker of this item died, twice.
        Exception: what the work raised.
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


def picklable(error: Exception) -> Exception:
    """``error`` itself, or a :class:`WorkError` where it cannot be rebuilt from its arguments as unpickling does."""
    try:
        rebuild, arguments = cast(Any, error.__reduce__())[:2]
        rebuild(*arguments)
    except Exception:
        return WorkError(type(error).__name__, str(error))
    return error
