"""The engine that is none: one item after the other, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from graft.mapper.base import Engine, Mapper, Outcome, outcome_of
from graft.mapper.worker import Surroundings
from graft.settings import Compute


class Serial:
    """Runs an item when it is waited for, so that none is begun before the one before it was given out."""

    slots = 1

    def __init__(self) -> None:
        self._work: Callable[[Any], Any] | None = None
        self._next: list[tuple[int, Any]] = []

    def begin(self, work: Callable[[Any], Any]) -> None:
        """See :class:`graft.mapper.base.Engine`."""
        self._work = work

    def start(self, number: int, item: Any) -> None:
        """See :class:`graft.mapper.base.Engine`."""
        self._next.append((number, item))

    def wait(self) -> list[tuple[int, Outcome]]:
        """See :class:`graft.mapper.base.Engine`."""
        assert self._work is not None, "a map has begun"
        number, item = self._next.pop()
        return [(number, outcome_of(self._work, item))]

    def cancel(self) -> None:
        """See :class:`graft.mapper.base.Engine`."""
        self._next.clear()


@contextmanager
def opened(compute: Compute, around: Surroundings) -> Iterator[Engine]:
    """The engine; nothing has to be opened, and the work is done in the surroundings that this process has."""
    yield Serial()


def in_turn() -> Mapper:
    """A mapper that does one item after the other here."""
    return Mapper(Serial())
