"""Workers and threads follow from the cores that are really there, and from what somebody sets."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from graft.determinism import available_cores
from graft.errors import ConfigError
from graft.serve import capacity
from graft.serve.capacity import Capacity


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRAFT_WORKERS", "GRAFT_THREADS", "GRAFT_BATCH", "GRAFT_ENGINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("cores", "workers", "threads"), [(1, 1, 1), (2, 1, 2), (4, 1, 4), (8, 2, 4), (10, 3, 3)])
def test_every_core_has_a_thread(monkeypatch: pytest.MonkeyPatch, cores: int, workers: int, threads: int) -> None:
    monkeypatch.setattr(capacity, "available_cores", lambda: cores)
    assert Capacity.of_this_machine() == Capacity(workers, threads, 1, 1, "")


def test_what_is_set_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "available_cores", lambda: 4)
    monkeypatch.setenv("GRAFT_WORKERS", "2")
    assert Capacity.of_this_machine() == Capacity(2, 2)
    monkeypatch.setenv("GRAFT_BATCH", "8")
    monkeypatch.setenv("GRAFT_ENGINE", "torch")
    assert Capacity.of_this_machine() == Capacity(2, 10, 8, 2, "torch")
    monkeypatch.setenv("GRAFT_THREADS", "3")
    assert Capacity.of_this_machine().threads == 3


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "²"])
def test_what_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("GRAFT_WORKERS", value)
    with pytest.raises(ConfigError, match=f"GRAFT_WORKERS={value} is no whole number from 1 on") as refused:
        Capacity.of_this_machine()
    assert refused.value.remedy == "set another, or unset GRAFT_WORKERS"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu.max": "junk"}, 64),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({}, 64),
    ],
)
def test_a_containers_limit_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert available_cores(tmp_path) == cores
