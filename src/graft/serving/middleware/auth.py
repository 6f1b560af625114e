"""API key: who may ask the service."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from graft.serving.error_response import error_response


class AuthMiddleware:
    """ASGI middleware: 401 for requests without the API key, and for other machines' where no key is set.

    Args:
        app: the application behind it.
        api_key: sent as ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``; empty: none is asked for.
        allow_remote: without a key, answer requests to any address, not only to loopback ones.
        public_paths: answered without the key.
    """

    def __init__(self, app: ASGIApp, api_key: str, allow_remote: bool, public_paths: Collection[str]) -> None:
        self.app = app
        self.api_key = api_key.encode()
        self.allow_remote = allow_remote
        self.public_paths = frozenset(public_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        # Browsers send no key with a CORS preflight (OPTIONS), which returns no data.
        is_open = scope["type"] != "http" or scope["method"] == "OPTIONS" or scope["path"] in self.public_paths
        if is_open or self._is_allowed(scope):
            await self.app(scope, receive, send)
            return
        response = error_response(
            401,
            "the API key is missing or wrong" if self.api_key else "other machines may ask only with an API key",
            "send it as `Authorization: Bearer KEY`"
            if self.api_key
            else "start the service with GRAFT_API_KEY, or with GRAFT_OPEN=1 to serve without a key",
            {"WWW-Authenticate": "Bearer"},
        )
        await response(scope, receive, send)

    def _is_allowed(self, scope: Scope) -> bool:
        if not self.api_key:
            # The address that was connected to, whichever setting of BentoML the socket was bound by.
            return self.allow_remote or is_loopback((scope.get("server") or ("",))[0])
        headers = Headers(scope=scope)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        sent = [token.strip() if scheme.lower() == "bearer" else "", headers.get("x-api-key", "")]
        # Compared in constant time. Headers are latin-1 on the wire; the key was set as UTF-8.
        return any(hmac.compare_digest(key.encode("latin-1"), self.api_key) for key in sent)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
