"""Requests that a web page of somebody else makes a browser send are refused: it can reach what strangers cannot.

A page can post a form to a service on its reader's own machine, or have its own name lead there (DNS rebinding). The
first is told by the headers `Sec-Fetch-Site` and `Origin`, which no page can set, and the second by `Host`. Starlette's
TrustedHostMiddleware takes no "any IP address", and answers in plain text without a remedy.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from graft.errors import DataError
from graft.serve.refusal import refusal

ANY = "*"
_READING = {"GET", "HEAD", "OPTIONS"}


class SameOrigin:
    """ASGI middleware: only under the service's own names, and from no page but its own and those that are allowed.

    Args:
        app: what is asked when a request may pass.
        hosts: the service's names besides IP addresses and localhost, none of which a stranger's name can be;
            ``*`` for any.
        allows: whether a page of that origin may ask, such as ``https://app.example.com``.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], allows: Callable[[str], bool]) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)
        self.allows = allows

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with 403."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            host = headers.get("host", "")
            if host and not self._is_own(_name_in(host)):
                error = DataError(
                    "the service does not answer to this name", remedy="name it in GRAFT_HOSTS, or ask its IP address"
                )
                await refusal(error, 403)(scope, receive, send)
                return
            if scope["method"] not in _READING and not self._may_ask(headers, host):
                error = DataError(
                    "a web page of another site may not ask this service",
                    remedy="allow its origin by BentoML's http.cors settings, or name the site in GRAFT_HOSTS",
                )
                await refusal(error, 403)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _is_own(self, name: str) -> bool:
        return ANY in self.hosts or name in self.hosts or name == "localhost" or _is_address(name)

    def _may_ask(self, headers: Headers, host: str) -> bool:
        """By the rule of browsers and of Go's CrossOriginProtection; who sends neither header is no browser."""
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site in {"same-origin", "none"} or (site is None and origin is None):
            return True
        if origin is None:
            return False
        netloc = origin.partition("://")[2]
        is_own_page = site is None and netloc.lower() == host.lower()
        return is_own_page or _name_in(netloc) in self.hosts or self.allows(origin)


def _name_in(host: str) -> str:
    """The name in a Host header, without its port and in small letters; empty where it is none."""
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
