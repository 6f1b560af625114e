"""Limit of the request body."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graft.serving.error_response import error_response

TOO_LARGE = "send a smaller image, or fewer at once"


class BodyLimitMiddleware:
    """ASGI middleware: 413 for bodies over the path's limit, by Content-Length or counted as they arrive.

    Starlette's ``max_body_size`` answers in plain text, and BentoML has no limit.

    Args:
        app: the application behind it, which turns Starlette's HTTPException into a response.
        limits: path -> bytes; other paths take none.
    """

    def __init__(self, app: ASGIApp, limits: Mapping[str, int]) -> None:
        self.app = app
        self.limits = dict(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a body of limited size, or answer 413."""
        if scope["type"] != "http" or scope["path"] not in self.limits:
            await self.app(scope, receive, send)
            return
        limit = self.limits[scope["path"]]
        if _content_length(scope) > limit:
            await error_response(413, _message(limit), TOO_LARGE)(scope, receive, send)
            return
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise HTTPException(413, _message(limit))
            return message

        await self.app(scope, receive_limited, send)


def _message(limit: int) -> str:
    size = f"{limit / 2**20:g} MiB" if limit >= 2**20 else f"{limit / 2**10:g} KiB"
    return f"the upload is larger than {size}"


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            # int() refuses thousands of digits.
            return int(value) if len(value) < 20 else sys.maxsize
    return 0
