"""What workers are asked first: each thing that does not fit has its message."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graft.errors import GraftError
from graft.mapper.checks import SAME_GRAFT, checked, code_here
from graft.mapper.worker import facts

VERSION = ".".join(map(str, sys.version_info[:2]))


def answering(*changes: dict[str, Any] | Exception) -> Callable[[Path], dict[str, Any]]:
    """Workers that answer as this process would, but for what is changed."""

    def ask(token: Path) -> dict[str, Any]:
        return {
            f"tcp://worker:{number}": change if isinstance(change, Exception) else {**facts(token), **change}
            for number, change in enumerate(changes)
        }

    return ask


def test_workers_that_fit_share_their_host_s_cores(tmp_path: Path) -> None:
    one, two = {"host": "one", "cores": 8}, {"host": "two", "cores": 6}
    assert checked(tmp_path, answering(one, one, two)) == 4
    assert checked(tmp_path, answering(one, two, two, two, two)) == 1
    assert checked(tmp_path, answering(*[{"host": "one", "cores": 2}] * 5)) == 1
    assert list(tmp_path.rglob("*.token")) == []


@pytest.mark.parametrize(
    ("change", "what", "remedy"),
    [
        (
            {"token": ""},
            "a worker does not see the folder {folder}",
            "share that folder, at the same path, with every machine of the cluster",
        ),
        ({"token": "of another folder"}, "a worker does not see the folder {folder}", None),
        ({"code": "0"}, "a worker runs another version of graft's code", SAME_GRAFT),
        ({"python": "3.9"}, f"a worker runs Python 3.9, and this is Python {VERSION}", SAME_GRAFT),
        (
            ModuleNotFoundError("No module named 'graft'"),
            "a worker cannot run graft (ModuleNotFoundError: No module named 'graft')",
            SAME_GRAFT,
        ),
    ],
)
def test_what_does_not_fit_is_named_with_its_worker(
    change: dict[str, Any] | Exception, what: str, remedy: str | None, tmp_path: Path
) -> None:
    with pytest.raises(GraftError) as caught:
        checked(tmp_path, answering({}, change))
    assert caught.value.what == what.format(folder=tmp_path)
    assert caught.value.where == "tcp://worker:1"
    assert remedy is None or caught.value.remedy == remedy
    assert list(tmp_path.rglob("*.token")) == []


def test_a_cluster_without_workers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match="the cluster has no worker") as caught:
        checked(tmp_path, answering())
    assert caught.value.remedy == "start some; docs/clusters.md says how"


def test_code_is_the_same_when_asked_again() -> None:
    assert code_here() == code_here() and len(code_here()) == 16
