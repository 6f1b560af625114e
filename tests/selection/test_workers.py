"""The selection spread over workers: the same to the bit as one candidate after the other, and one that kills its
worker fails alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graft.core.determinism import make_deterministic
from graft.core.settings import Compute, Params
from graft.features.cache import ArrayCache
from graft.parallel.factory import mapper_for
from graft.parallel.mapper import PoolMapper
from graft.pipeline.inputs.selection import selection_inputs
from graft.selection import workers
from graft.selection.inputs import TrainSet
from graft.selection.out_of_fold import out_of_fold_table
from graft.selection.report.leaderboard import agreement, table
from graft.selection.selection import SelectionResult, run_selection
from graft.selection.workers import split_folds
from tests.parallel.sabotage import Sabotaging

from .conftest import SMALL

TIMED = ("latency", "images_per", "seconds")


@pytest.fixture(
    scope="module",
    params=["processes", *(pytest.param(name, marks=pytest.mark.slow) for name in ("dask", "ray"))],
)
def mapper(request: pytest.FixtureRequest) -> Iterator[PoolMapper]:
    with mapper_for(Compute(mapper=request.param, workers=2, threads=1)) as found:
        yield found


@pytest.fixture
def params(asked: Callable[..., Params]) -> Params:
    """Two that can be told apart by where they are cut, and one that cannot be built."""
    return asked({**SMALL, "depth": "auto"}, {**SMALL, "depth": 0}, {**SMALL, "depth": 99}, finalists=2)


def run(
    task: TrainSet, params: Params, folder: Path, mapper: PoolMapper | None = None
) -> tuple[SelectionResult, list[str]]:
    said: list[str] = []
    return run_selection(
        selection_inputs(task, params, folder, ArrayCache(folder / "cache")), said.append, mapper
    ), said


def count_rows(folder: Path) -> list[int]:
    """How many images each kept file holds."""
    return [len(np.load(path, allow_pickle=False)) for path in folder.rglob("*.npy")]


def figures(contest: SelectionResult, task: TrainSet) -> dict[str, Any]:
    """Everything but times."""
    rows = table(contest.results, contest.failed, contest.controls)
    return {
        "rows": rows.drop(columns=[name for name in rows.columns if name.startswith(TIMED)]).to_csv(),
        "agreement": agreement(contest.results),
        "said": out_of_fold_table(contest.winner.out_of_fold, task).to_csv(),
        "scores": [(item.trained, item.delivers, item.probe, item.knn, item.logme) for item in contest.results],
        "winner": contest.winner.candidate,
    }


def test_the_selection_is_that_of_one_after_the_other_to_the_bit(
    mapper: PoolMapper, task: TrainSet, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the pass over the images is divided, which few images would not be."""
    make_deterministic(1)
    alone, said_alone = run(task, params, tmp_path / "alone")
    monkeypatch.setattr(workers, "LEAST_IMAGES", 8)
    spread, said = run(task, params, tmp_path / "spread", mapper)
    assert figures(spread, task) == figures(alone, task)
    assert said == said_alone
    for one, other in zip(alone.results, spread.results, strict=True):
        assert set(one.out_of_fold) == set(other.out_of_fold) == {"scratch"}
        assert all(np.array_equal(said, other.out_of_fold[strategy]) for strategy, said in one.out_of_fold.items())
    assert spread.failed[0].reason.startswith("probing: there is no block 99 to cut after")
    assert all(item.measured is not None for item in spread.results)
    whole, parts = (count_rows(tmp_path / name) for name in ("alone", "spread"))
    assert set(whole) == {24} and parts.count(24) == len(whole), "every set of rows was put together"
    assert parts.count(12) == len(parts) - len(whole) >= 2, "of two halves, but for the decoded images"


@pytest.mark.slow
def test_a_candidate_that_kills_its_worker_fails_alone(
    mapper: PoolMapper, task: TrainSet, asked: Callable[..., Params], tmp_path: Path
) -> None:
    params = asked({**SMALL, "depth": 1}, SMALL, {**SMALL, "depth": 0})
    contest, _ = run(task, params, tmp_path, Sabotaging(mapper.pool, params.zoo.candidates[0]))
    assert [item.candidate for item in contest.failed] == [params.zoo.candidates[0]]
    assert contest.failed[0].reason == "probing: was killed, as happens when memory runs out"
    assert [item.candidate for item in contest.results] == list(params.zoo.candidates[1:])
    assert contest.winner.finetuned


@pytest.mark.parametrize(("count", "expected"), [(1, [(0, 1, 2)]), (2, [(0, 1), (2,)]), (9, [(0,), (1,), (2,)])])
def test_folds_are_divided_among_workers(count: int, expected: list[tuple[int, ...]]) -> None:
    assert split_folds([0, 1, 2], count) == expected
