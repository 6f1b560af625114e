"""Checks of a cluster's workers: each mismatch has its message."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graft.core.errors import GraftError
from graft.parallel.cluster import SAME_GRAFT, WorkerFacts, check_workers, worker_facts

VERSION = ".".join(map(str, sys.version_info[:2]))


def facts(**changes: Any) -> WorkerFacts:
    """Those of this process, but for what is changed."""
    return replace(worker_facts(Path.cwd()), **changes)


@pytest.mark.parametrize(
    ("hosts", "threads"),
    [({"one": (2, 8), "two": (1, 6)}, 4), ({"one": (1, 8), "two": (4, 6)}, 1), ({"one": (5, 2)}, 1)],
)
def test_workers_share_the_cores_of_their_host(hosts: dict[str, tuple[int, int]], threads: int) -> None:
    found = {
        f"{host}:{number}": facts(host=host, cores=cores)
        for host, (workers, cores) in hosts.items()
        for number in range(workers)
    }
    assert check_workers(found) == threads


@pytest.mark.parametrize(
    ("found", "what", "remedy"),
    [
        (
            {"sees_folder": False},
            f"a worker does not see the folder {Path.cwd()}",
            "share that folder, at the same path, with every machine of the cluster",
        ),
        ({"code": "0"}, "a worker runs another version of graft's code", SAME_GRAFT),
        ({"python": "3.9"}, f"a worker runs Python 3.9, and this is Python {VERSION}", SAME_GRAFT),
        (
            ModuleNotFoundError("No module named 'graft'"),
            "a worker cannot run graft (ModuleNotFoundError: No module named 'graft')",
            SAME_GRAFT,
        ),
    ],
)
def test_a_mismatch_is_named_with_its_worker(found: dict[str, Any] | Exception, what: str, remedy: str) -> None:
    second = found if isinstance(found, Exception) else facts(**found)
    with pytest.raises(GraftError) as caught:
        check_workers({"tcp://worker:0": facts(), "tcp://worker:1": second})
    assert (caught.value.what, caught.value.where, caught.value.remedy) == (what, "tcp://worker:1", remedy)


def test_a_folder_that_is_not_there_is_seen(tmp_path: Path) -> None:
    assert worker_facts(tmp_path).sees_folder and not worker_facts(tmp_path / "gone").sees_folder


def test_a_cluster_without_workers_is_refused() -> None:
    with pytest.raises(GraftError, match="the cluster has no worker") as caught:
        check_workers({})
    assert caught.value.remedy == "start some; docs/clusters.md says how"
