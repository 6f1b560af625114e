"""May something be downloaded, and can its host be reached? Asked first, so that a refusal takes seconds."""

from __future__ import annotations

import os
import socket
import threading
from urllib.parse import urlparse
from urllib.request import getproxies, proxy_bypass

_PATIENCE_S = 3.0
_PORTS = {"http": 80, "https": 443}


def downloads_allowed() -> bool:
    """False with ``GRAFT_OFFLINE=1``."""
    return os.environ.get("GRAFT_OFFLINE") != "1"


def reachable(url: str) -> bool:
    """Whether a connection to the URL's host, or to the proxy that leads there, opens within seconds."""
    host, port = _next_hop(url)
    answered = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=_PATIENCE_S).close()
        except OSError:
            return
        answered.set()

    # In a thread, since looking up a name knows no time-out.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(_PATIENCE_S)
    return answered.is_set()


def _next_hop(url: str) -> tuple[str, int]:
    aim = urlparse(url)
    proxy = getproxies().get(aim.scheme)
    if proxy and not proxy_bypass(aim.hostname or ""):
        aim = urlparse(proxy if "://" in proxy else f"http://{proxy}")
    return aim.hostname or "", aim.port or _PORTS.get(aim.scheme, 443)
