"""How a machine is divided."""

from __future__ import annotations

from typing import Any

import pytest

from graft.core.settings import Compute
from graft.parallel.resource_share import ResourceShare, divided


@pytest.mark.parametrize(
    ("settings", "cores", "gpus", "expected"),
    [
        ({}, 8, (), ResourceShare(8, 1)),
        ({"threads": 4}, 8, (), ResourceShare(2, 4)),
        ({"threads": 16}, 8, (), ResourceShare(1, 16)),
        ({"workers": 3}, 8, (), ResourceShare(3, 2)),
        ({"workers": 16}, 8, (), ResourceShare(16, 1)),
        ({"workers": 3, "threads": 1}, 8, (), ResourceShare(3, 1)),
        ({}, 16, ("0", "1"), ResourceShare(2, 8, ("0", "1"))),
        ({"workers": 4}, 16, ("0", "1"), ResourceShare(4, 4, ("0", "1"))),
    ],
)
def test_workers_and_threads(
    settings: dict[str, Any], cores: int, gpus: tuple[str, ...], expected: ResourceShare
) -> None:
    assert divided(Compute(**settings), cores, gpus) == expected


def test_gpus_are_dealt_out_in_turn() -> None:
    share = ResourceShare(4, 1, ("0", "2"))
    assert [share.variables(place) for place in range(4)] == [{"CUDA_VISIBLE_DEVICES": name} for name in "0202"]
    assert ResourceShare(4, 1).variables(1) == {}
