"""Whether downloads are allowed, and how long they wait for a server that does not answer."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

_TIMEOUT_S = 10.0


def downloads_allowed() -> bool:
    """False with ``GRAFT_OFFLINE=1``."""
    return os.environ.get("GRAFT_OFFLINE") != "1"


@contextmanager
def socket_timeout() -> Iterator[None]:
    """Give up after 10 s without an answer: torch.hub and torchvision open URLs without a timeout of their own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
