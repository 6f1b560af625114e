"""The map itself, against a pool that ends items in any order and whose workers die as often as it is told."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.core.errors import DataError, GraftError
from graft.parallel.mapper import PoolMapper, SerialMapper, Slots
from graft.parallel.outcomes import KILLED, Done, Failure, Outcome, WorkError, outcome_of, picklable


class DiedError(Exception):
    """A worker's death."""


class ScriptedPool:
    """For each submitted item ends one of the running items, chosen at random, on another thread."""

    died = (DiedError,)

    def __init__(self, workers: int, deaths: list[int], random: Any) -> None:
        self.workers = workers
        self.started: list[tuple[int, int]] = []
        self.cancelled = 0
        self._deaths = list(deaths)
        self._running: dict[int, tuple[Future[Outcome], Callable[[Any], Any], int]] = {}
        self._random = random
        self._thread = ThreadPoolExecutor(1)

    def submit(self, slot: int, work: Callable[[Any], Any], item: int) -> Future[Outcome]:
        assert slot < self.workers and slot not in self._running
        future: Future[Outcome] = Future()
        self._running[slot] = future, work, item
        self.started.append((item, len(self._running)))
        self._thread.submit(self._end_one)
        return future

    def _end_one(self) -> None:
        future, work, item = self._running.pop(self._random.choice(sorted(self._running)))
        if self._deaths[item]:
            self._deaths[item] -= 1
            future.set_exception(DiedError())
        else:
            future.set_result(outcome_of(work, item))

    def cancel(self, running: Slots) -> None:
        self.cancelled += 1
        self._thread.shutdown()


def half(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


@given(st.lists(st.integers(0, 3), max_size=12), st.integers(1, 5), st.randoms(use_true_random=True))
def test_items_come_once_and_in_order_and_a_death_costs_no_other_item(
    deaths: list[int], workers: int, random: Any
) -> None:
    pool = ScriptedPool(workers, deaths, random)
    found = list(PoolMapper(pool).map(half, range(len(deaths)), "halving"))
    assert len(found) == len(deaths)
    for number, (item, died) in enumerate(zip(found, deaths, strict=True)):
        if died > 1:
            assert isinstance(item, Failure) and item.was_killed and str(item.error) == KILLED
        elif number % 2:
            assert isinstance(item, Failure) and not item.was_killed and str(item.error) == f"{number} is odd"
        else:
            assert item == Done(number // 2)
        tries = [beside for other, beside in pool.started if other == number]
        assert len(tries) == min(died, 1) + 1
        assert len(tries) == 1 or tries[1] == 1, "retried when nothing else runs"
    assert pool.cancelled == 1


def test_a_lost_cluster_ends_the_map() -> None:
    class LostPool(ScriptedPool):
        def submit(self, slot: int, work: Callable[[Any], Any], item: int) -> Future[Outcome]:
            future: Future[Outcome] = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    with pytest.raises(GraftError, match="the cluster was lost while it worked"):
        list(PoolMapper(LostPool(1, [], None)).map(half, [2], "halving"))


def test_serial_starts_no_item_before_the_previous_outcome_was_taken() -> None:
    done: list[int] = []
    found = SerialMapper().map(done.append, range(5), "counting")
    assert next(found) == Done(None)
    found.close()  # type: ignore[attr-defined]
    assert done == [0]


def test_a_serial_failure_holds_the_error_itself() -> None:
    error = KeyError("as it was")

    def work(item: int) -> None:
        raise error

    (found,) = SerialMapper().map(work, [0], "failing")
    assert isinstance(found, Failure) and found.error is error


class PrivateError(Exception):
    """Cannot be rebuilt from its text, as unpickling would."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize(
    "error", [DataError("what", where="where", remedy="remedy"), FileNotFoundError(2, "gone", "file"), MemoryError()]
)
def test_ordinary_errors_are_sent_as_they_are(error: Exception) -> None:
    assert picklable(error) is error


def test_an_error_that_cannot_be_rebuilt_is_sent_by_its_name_and_text() -> None:
    sent = picklable(PrivateError(1, 2))
    assert isinstance(sent, WorkError) and str(sent) == "PrivateError: 1 and 2"
