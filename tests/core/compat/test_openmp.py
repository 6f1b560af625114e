"""Threads that wait give their core away soon, unless the user has said how they wait."""

from __future__ import annotations

import os

import pytest

from graft.core.compat.openmp import SPIN_COUNT, compute_alone, wait_briefly


def test_the_count_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "to be put back after the test")
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    wait_briefly()
    assert os.environ["GOMP_SPINCOUNT"] == SPIN_COUNT


@pytest.mark.parametrize(("name", "value"), [("GOMP_SPINCOUNT", "7"), ("OMP_WAIT_POLICY", "ACTIVE")])
def test_what_the_user_has_set_stands(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMP_SPINCOUNT", "to be put back after the test")
    for known in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(known, raising=False)
    monkeypatch.setenv(name, value)
    wait_briefly()
    assert os.environ.get("GOMP_SPINCOUNT") == ("7" if name == "GOMP_SPINCOUNT" else None)


@pytest.mark.parametrize(("given", "taken"), [(None, "1"), ("3", "3")])
def test_a_service_computes_each_product_on_one_thread(
    given: str | None, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", given or "to be put back after the test")
    if given is None:
        monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    compute_alone()
    assert os.environ["OPENBLAS_NUM_THREADS"] == taken
