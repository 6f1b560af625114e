"""Ports for processes that listen later: free, none twice soon, and none that the system hands out by itself."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from graft.train import meeting
from graft.train.meeting import meeting_place, port_for_later

RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def test_it_is_free_and_one_of_many() -> None:
    found = {port_for_later() for _ in range(20)}
    assert len(found) > 10
    assert all(meeting.FIRST <= port <= meeting.LAST for port in found)


@pytest.mark.skipif(sys.platform != "linux" or not RANGE.exists(), reason="where the range is said is Linux's")
def test_the_system_gives_it_to_nobody_by_itself() -> None:
    first = int(RANGE.read_text().split()[0])
    if first < 32_768:
        pytest.skip(f"here the system gives ports from {first} on")
    assert first > meeting.LAST


def test_one_that_is_taken_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setattr(meeting, "FIRST", port)
        monkeypatch.setattr(meeting, "LAST", port)
        assert port_for_later() != port


def test_each_training_has_a_place_of_its_own_and_a_users_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_PORT", raising=False)
    places = []
    for _ in range(5):
        with meeting_place():
            places.append(os.environ["MASTER_PORT"])
            os.environ["MASTER_PORT"] = "1"  # as Lightning does, which leaves its own there
        assert "MASTER_PORT" not in os.environ
    assert len(set(places)) > 1
    monkeypatch.setenv("MASTER_PORT", "29500")
    with meeting_place():
        assert os.environ["MASTER_PORT"] == "29500"
    assert os.environ["MASTER_PORT"] == "29500"
