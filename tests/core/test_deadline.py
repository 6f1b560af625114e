"""Deadlines go by the monotonic clock: setting the wall clock back neither prolongs nor shortens them."""

from __future__ import annotations

import time

import pytest

from graft.core.deadline import Deadline, OutOfTimeError, require_time


def test_a_deadline_passes_when_its_seconds_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    deadline = Deadline.after(5)
    require_time(deadline, "training")
    now = 104.9
    assert not deadline.has_passed
    now = 105.0
    assert deadline.has_passed
    with pytest.raises(OutOfTimeError) as caught:
        require_time(deadline, "training: fine-tuning")
    assert caught.value.message() == (
        "the time limit passed while training: fine-tuning\n  where: time_limit\n"
        "  remedy: give it more minutes, or none"
    )


def test_a_clock_that_is_set_back_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    deadline = Deadline.after(3600)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert not deadline.has_passed
    monkeypatch.setattr(time, "time", lambda: 1e12)
    assert not deadline.has_passed


def test_without_a_limit_there_is_always_time() -> None:
    require_time(None, "training")
