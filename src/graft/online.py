"""May something be downloaded, and can its host be reached? Asked first, so that a refusal takes seconds."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from urllib.parse import urlparse
from urllib.request import getproxies, proxy_bypass

_PATIENCE_S = 3.0
_HEAD_START_S = 0.25
_PORTS = {"http": 80, "https": 443}


def downloads_allowed() -> bool:
    """False with ``GRAFT_OFFLINE=1``."""
    return os.environ.get("GRAFT_OFFLINE") != "1"


def reachable(url: str) -> bool:
    """Whether a connection to the URL's host, or to the proxy that leads there, opens within seconds."""
    import asyncio

    host, port = _next_hop(url)
    answered = threading.Event()

    async def connect() -> None:
        # Of several addresses, the next is tried beside the one before: that one may be a black hole.
        with suppress(OSError):
            _, writer = await asyncio.open_connection(host, port, happy_eyeballs_delay=_HEAD_START_S)
            answered.set()
            writer.transport.abort()

    # In a thread, since looking up a name knows no time-out.
    thread = threading.Thread(target=lambda: asyncio.run(connect()), daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    return answered.is_set()


def _next_hop(url: str) -> tuple[str, int]:
    aim = urlparse(url)
    proxy = getproxies().get(aim.scheme)
    if proxy and not proxy_bypass(aim.hostname or ""):
        aim = urlparse(proxy if "://" in proxy else f"http://{proxy}")
    return aim.hostname or "", aim.port or _PORTS.get(aim.scheme, 443)
