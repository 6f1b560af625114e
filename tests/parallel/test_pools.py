"""Every engine with two workers: order, failures as values, killed workers, memory, and what cannot be sent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from graft.core.errors import DataError, GraftError
from graft.core.settings import Compute
from graft.parallel.context import WorkerContext
from graft.parallel.factory import POOLS
from graft.parallel.mapper import Mapper, PoolMapper
from graft.parallel.outcomes import Done, Failure, WorkError, value_of
from tests.parallel import work
from tests.waiting import until

KILLED = "was killed, as happens when memory runs out"


@pytest.fixture(
    scope="module", params=["processes", *(pytest.param(name, marks=pytest.mark.slow) for name in ("dask", "ray"))]
)
def mapper(request: pytest.FixtureRequest) -> Iterator[Mapper]:
    """Without threads to settle no worker imports PyTorch, which takes seconds."""
    compute = Compute(mapper=request.param, workers=2, threads=1)
    with POOLS[request.param](compute, WorkerContext.here(None)) as pool:
        yield PoolMapper(pool)


def test_results_come_in_order_from_two_processes(mapper: Mapper, tmp_path: Path) -> None:
    assert mapper.workers == 2
    assert list(mapper.map(work.slow_square, range(5), "squaring")) == [Done(n * n) for n in range(5)]
    # Each waits for the other: which of two that are free gets the next item is the engine's affair.
    processes = {value_of(item) for item in mapper.map(work.meet, [str(tmp_path)] * 2, "meeting")}
    assert len(processes) == 2 and os.getpid() not in processes
    assert list(mapper.map(work.square, (), "nothing")) == []


def test_a_failure_is_a_value_and_says_what_it_said(mapper: Mapper) -> None:
    found = list(mapper.map(work.refuse_odd, range(4), "refusing"))
    assert [item for item in found if isinstance(item, Done)] == [Done(0), Done(2)]
    assert isinstance(found[1], Failure) and not found[1].was_killed
    error = found[1].error
    assert isinstance(error, DataError)
    assert (error.what, error.where, error.remedy) == ("1 is odd", "here", "take another")
    with pytest.raises(DataError, match="1 is odd"):
        value_of(found[1])


def test_an_error_of_a_class_of_its_own_comes_by_its_name(mapper: Mapper) -> None:
    (found,) = mapper.map(work.raise_private, [3], "failing")
    assert isinstance(found, Failure) and isinstance(found.error, WorkError)
    assert str(found.error) == "PrivateError: 3 and 3"


def test_who_kills_its_worker_twice_fails_alone(mapper: Mapper) -> None:
    found = list(mapper.map(work.kill_own_process, range(4), "dying"))
    assert [item for item in found if isinstance(item, Done)] == [Done(0), Done(2), Done(3)]
    assert isinstance(found[1], Failure) and found[1].was_killed
    assert str(found[1].error) == KILLED
    with pytest.raises(GraftError, match="a worker was killed") as caught:
        value_of(found[1])
    assert caught.value.remedy == "where memory is short, take fewer workers, a smaller size or a smaller batch"
    assert list(mapper.map(work.square, range(3), "squaring")) == [Done(0), Done(1), Done(4)]


def test_a_worker_that_dies_once_loses_nothing(mapper: Mapper, tmp_path: Path) -> None:
    items = [(number, str(tmp_path / "died")) for number in range(4)]
    assert list(mapper.map(work.kill_own_process_once, items, "dying once")) == [Done(number) for number in range(4)]
    assert (tmp_path / "died").exists()


def test_memory_that_is_not_there_is_one_item_s_failure(mapper: Mapper) -> None:
    found = list(mapper.map(work.run_out_of_memory, range(3), "asking for memory"))
    assert [item for item in found if isinstance(item, Done)] == [Done(0), Done(2)]
    assert isinstance(found[1], Failure) and isinstance(found[1].error, MemoryError)


def test_a_map_that_is_left_early_leaves_the_mapper_usable(mapper: Mapper) -> None:
    begun = mapper.map(work.slow_square, range(9), "squaring")
    assert next(begun) == Done(0)
    begun.close()  # type: ignore[attr-defined]
    assert list(mapper.map(work.square, range(3), "squaring")) == [Done(0), Done(1), Done(4)]


def test_what_was_under_way_is_ended(tmp_path: Path) -> None:
    """A process that would have slept on is gone."""
    said = tmp_path / "process"
    with POOLS["processes"](Compute(workers=2), WorkerContext.here(None)) as pool:
        begun = PoolMapper(pool).map(work.sleep_long_if_told, [None, str(said)], "sleeping")
        assert next(begun) == Done(None)
        until(lambda: said.exists() and said.read_text())
        begun.close()  # type: ignore[attr-defined]
        with pytest.raises(ProcessLookupError):
            os.kill(int(said.read_text()), 0)


def test_a_result_that_cannot_be_sent_is_a_failure() -> None:
    with POOLS["processes"](Compute(workers=1), WorkerContext.here(None)) as pool:
        found = list(PoolMapper(pool).map(work.cannot_be_sent, range(2), "sending"))
    assert all(isinstance(item, Failure) and "ickl" in str(item.error) for item in found)
