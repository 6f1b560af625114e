"""Waiting for what another process or thread does: asked again and again, with a limit that a busy machine keeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(what: Callable[[], T], seconds: float = 60) -> T:
    """The first true value of ``what()``; AssertionError with what it said last when it is not true in ``seconds``."""
    deadline = time.monotonic() + seconds
    while not (said := what()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for it, and the last answer was {said!r}"
        time.sleep(0.05)
    return said
