"""Where the processes of one training meet: a port of this machine that is still free when they come to it."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from contextlib import contextmanager

# Below what Linux gives to whoever names no port (32768 to 60999 where nobody changed that), and above what Ray's
# workers take: nobody gets one of these without having asked for it.
FIRST, LAST = 20_000, 32_000
_TRIES = 200
_NAME = "MASTER_PORT"


@contextmanager
def meeting_place() -> Iterator[None]:
    """Say in the environment where processes that are begun here meet; a user who has said it is heeded.

    Left to itself, Lightning takes a port that is free at the moment. Its processes come to it seconds later, when
    another program may have it, and it is taken again for all that is trained after that.
    """
    if _NAME in os.environ:
        yield
        return
    os.environ[_NAME] = str(port_for_later())
    try:
        yield
    finally:
        os.environ.pop(_NAME, None)


def port_for_later() -> int:
    """A port of 127.0.0.1 where nobody listens, and that the system hands to nobody else meanwhile.

    Where all that were tried are taken, it is one that the system gives, which is free now and may be taken soon.
    """
    # Not the generator that a program may have seeded: it would say the same in all processes that begin together.
    chosen = random.SystemRandom()
    for port in (chosen.randint(FIRST, LAST) for _ in range(_TRIES)):
        if _free(port):
            return port
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        given: int = listening.getsockname()[1]
    return given


def _free(port: int) -> bool:
    with socket.socket() as listening:
        try:
            listening.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
