"""What an item finds around it on a worker of each engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from graft.mapper.base import Mapper, value_of
from graft.mapper.opening import ENGINES
from graft.mapper.worker import Surroundings
from graft.settings import Compute
from tests.mapper import work


@pytest.mark.slow
@pytest.mark.parametrize("name", ["processes", "dask", "ray"])
def test_workers_find_the_folder_and_the_threads_that_are_meant(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRAFT_OFFLINE", "1")
    compute = Compute(mapper=name, workers=2, threads=1)  # type: ignore[arg-type]
    with ENGINES[name](compute, Surroundings.here(1)) as engine:
        for item in Mapper(engine).map(work.surroundings, range(2), "looking around"):
            found = value_of(item)
            assert found["folder"] == str(tmp_path) and found["torch"] == 1 and found["libraries"] == {1}
            assert found["OPENBLAS_NUM_THREADS"] == found["OMP_NUM_THREADS"] == found["GRAFT_OFFLINE"] == "1"
