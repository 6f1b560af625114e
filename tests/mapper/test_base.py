"""The course of a map, against an engine that dies whenever it is told to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.errors import DataError, GraftError
from graft.mapper.base import KILLED, Done, Failure, Killed, Mapper, Outcome, WorkError, outcome_of
from graft.mapper.serial import in_turn


class Scripted:
    """Runs nothing: ends the items in any order, and kills each as often as is written."""

    def __init__(self, slots: int, deaths: list[int], order: Any) -> None:
        self.slots = slots
        self.deaths = list(deaths)
        self.started: list[tuple[int, int]] = []
        self.cancelled = 0
        self._running: list[tuple[int, Any]] = []
        self._order = order
        self._work: Callable[[Any], Any] = repr

    def begin(self, work: Callable[[Any], Any]) -> None:
        self._work = work

    def start(self, number: int, item: Any) -> None:
        assert len(self._running) < self.slots
        self._running.append((number, item))
        self.started.append((number, len(self._running)))

    def wait(self) -> list[tuple[int, Outcome]]:
        assert self._running, "nothing is waited for in vain"
        number, item = self._running.pop(self._order(len(self._running)))
        if self.deaths[number]:
            self.deaths[number] -= 1
            return [(number, Killed())]
        return [(number, outcome_of(self._work, item))]

    def cancel(self) -> None:
        self.cancelled += 1
        self._running.clear()


def half(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 5), st.randoms(use_true_random=False))
def test_every_item_comes_once_in_order_and_nobody_pays_for_another(deaths: list[int], slots: int, random: Any) -> None:
    engine = Scripted(slots, deaths, lambda count: random.randrange(count))
    found = list(Mapper(engine).map(half, range(len(deaths)), "halving"))
    assert len(found) == len(deaths)
    for number, (item, died) in enumerate(zip(found, deaths, strict=True)):
        if died > 1:
            assert isinstance(item, Failure) and item.was_killed and str(item.error) == KILLED
        elif number % 2:
            assert isinstance(item, Failure) and not item.was_killed and str(item.error) == f"{number} is odd"
        else:
            assert item == Done(number // 2)
        tries = [beside for other, beside in engine.started if other == number]
        assert len(tries) == min(died, 1) + 1
        assert len(tries) == 1 or tries[1] == 1, "it is tried again when nothing else runs"
    assert engine.cancelled == 1


def test_no_item_is_begun_here_before_the_one_before_it_was_given_out() -> None:
    done: list[int] = []
    found = in_turn().map(done.append, range(5), "counting")
    assert next(found) == Done(None)
    found.close()  # type: ignore[attr-defined]
    assert done == [0]


def test_an_error_here_is_the_one_that_was_raised() -> None:
    error = KeyError("as it was")

    def work(item: int) -> None:
        raise error

    (found,) = in_turn().map(work, [0], "failing")
    assert isinstance(found, Failure) and found.error is error


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (DataError("what", where="where", remedy="remedy"), DataError, "what\n  where: where\n  remedy: remedy"),
        (FileNotFoundError(2, "not there", "file"), FileNotFoundError, "[Errno 2] not there: 'file'"),
        (NotImplementedError("not yet"), RuntimeError, "not yet"),
        (MemoryError(), MemoryError, ""),
        (KeyError("key"), WorkError, "KeyError: 'key'"),
        (GraftError("plain"), GraftError, "plain"),
    ],
)
def test_errors_cross_as_what_any_process_can_read(error: Exception, kind: type[Exception], text: str) -> None:
    crossed = Failure(error).portable().error
    assert type(crossed) is kind and str(crossed) == text
