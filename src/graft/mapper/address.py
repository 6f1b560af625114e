"""The address of a cluster: is anybody there? Asked first, because engines wait for minutes."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlparse

from graft.errors import ConfigError, GraftError

PATIENCE_S = 5.0


def require_reachable(engine: str, address: str, example: str) -> None:
    """Open a connection to ``address``, and close it again.

    Args:
        engine: for the message, such as ``Dask``.
        address: ``host:port``, or a URL with both.
        example: what an address of this engine looks like.

    Raises:
        ConfigError: it is no address.
        GraftError: nobody answers within seconds.
    """
    try:
        aim = urlparse(address if "://" in address else f"//{address}")
        host, port = aim.hostname, aim.port
    except ValueError:
        host, port = None, None
    if not host or not port:
        raise ConfigError(
            f"{address!r} is no address of a {engine} cluster",
            where="compute.address",
            remedy=f"write host and port, such as {example}",
        )
    try:
        socket.create_connection((host, port), timeout=PATIENCE_S).close()
    except OSError as error:
        raise unreachable(engine, address, error) from None


def unreachable(engine: str, address: str, error: Exception, else_try: str = "") -> GraftError:
    """What is said where a cluster does not answer; ``else_try`` is what may help with this engine alone."""
    return GraftError(
        f"the {engine} cluster cannot be reached ({str(error) or type(error).__name__})",
        where=f"compute.address: {address}",
        remedy=f"start it, or mend the address; with compute.mapper: processes no cluster is needed{else_try}",
    )


@contextmanager
def needed_for(engine: str, extra: str) -> Iterator[None]:
    """Around the import of an engine.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise ConfigError(
            f"the mapper {extra!r} needs {engine}, which is not installed ({error})",
            where="compute.mapper",
            remedy=f"pip install 'graft[{extra}]'",
        ) from None
