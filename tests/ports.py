"""Ports for processes that listen later."""

from __future__ import annotations

import random
import socket

# Below what Linux gives to whoever names no port (32768 to 60999), and above what Ray's workers take.
FIRST, LAST = 20_000, 32_000
# Not the generator that a test may have seeded: it would say the same in all processes that begin together.
RANDOM = random.SystemRandom()


def port_for_later() -> int:
    """A port of 127.0.0.1 where nobody listens, and that the system hands to nobody else meanwhile."""
    while True:
        port = RANDOM.randint(FIRST, LAST)
        with socket.socket() as listening:
            try:
                listening.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
