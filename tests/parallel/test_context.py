"""The context of an item on a worker of each pool."""

from __future__ import annotations

from pathlib import Path

import pytest

from graft.core.settings import Compute
from graft.parallel.context import WorkerContext
from graft.parallel.factory import POOLS
from graft.parallel.mapper import PoolMapper
from graft.parallel.outcomes import value_of
from tests.parallel import work


@pytest.mark.slow
@pytest.mark.parametrize("name", ["processes", "dask", "ray"])
def test_workers_find_the_folder_and_the_threads_that_are_meant(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRAFT_OFFLINE", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # where Ray's workers find the tests
    compute = Compute(mapper=name, workers=2, threads=1)  # type: ignore[arg-type]
    with POOLS[name](compute, WorkerContext.here(1)) as pool:
        for item in PoolMapper(pool).map(work.context, range(2), "reading the context"):
            found = value_of(item)
            assert found["folder"] == str(tmp_path) and found["torch"] == 1 and found["libraries"] == {1}
            assert found["OPENBLAS_NUM_THREADS"] == found["OMP_NUM_THREADS"] == found["GRAFT_OFFLINE"] == "1"
