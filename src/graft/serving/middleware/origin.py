"""Protection against DNS rebinding and cross-site requests: checks of ``Host``, ``Origin`` and ``Sec-Fetch-Site``.

A page of another site can make its reader's browser post to a service on that reader's machine, or point its own name
there. Starlette's TrustedHostMiddleware cannot accept any IP address, and answers in plain text.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from graft.serving.error_response import error_response

ANY = "*"
_READING = {"GET", "HEAD", "OPTIONS"}


class OriginMiddleware:
    """ASGI middleware: 403 for other host names, and for requests that pages of other sites send.

    Args:
        app: the application behind it.
        hosts: accepted names besides localhost and IP addresses, also of sites whose pages may post; ``*`` for any
            host name.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 403."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            host = headers.get("host", "")
            if host and not self._is_accepted(_name_in(host)):
                response = error_response(
                    403, "the service does not answer to this name", "name it in GRAFT_HOSTS, or use its IP address"
                )
                await response(scope, receive, send)
                return
            if scope["method"] not in _READING and not self._is_same_origin(headers, host):
                response = error_response(
                    403, "a web page of another site may not ask this service", "name the site in GRAFT_HOSTS"
                )
                await response(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _is_accepted(self, name: str) -> bool:
        return ANY in self.hosts or name in self.hosts or name == "localhost" or _is_address(name)

    def _is_same_origin(self, headers: Headers, host: str) -> bool:
        """The rule of Go's CrossOriginProtection; clients that are no browsers send neither header."""
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site in {"same-origin", "none"} or (site is None and origin is None):
            return True
        if origin is None:
            return False
        netloc = origin.partition("://")[2]
        return (site is None and netloc.lower() == host.lower()) or _name_in(netloc) in self.hosts


def _name_in(host: str) -> str:
    """The name in a Host header, in lower case and without its port; empty where it is malformed."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
