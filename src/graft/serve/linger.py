"""Hearing out a sender whose request was refused before its body had come.

Many clients send all of a body before they read the answer: where the connection is closed under them, they see a
broken pipe and never the refusal. So the end of the answer waits until the body has come, or for a bounded time.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_TOO_SLOW = 408  # who had all the time there is


class Linger:
    """ASGI middleware: an answer that is given before the request's body has come ends after that.

    Args:
        app: what answers.
        seconds: for which the rest of a body is read, and thrown away.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self.app = app
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and hold the end of its answer back while its body comes."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD"}:
            await self.app(scope, receive, send)
            return
        is_coming = True

        async def receive_noted() -> Message:
            nonlocal is_coming
            message = await receive()
            is_coming = message.get("more_body", False)  # a sender that went away sends no more either
            return message

        async def send_ending_last(message: Message) -> None:
            nonlocal is_coming
            if message["type"] == "http.response.start":
                is_coming = is_coming and message["status"] != _TOO_SLOW
            elif is_coming and not message.get("more_body", False):
                await send({**message, "more_body": True})
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.seconds):
                        while is_coming:
                            await receive_noted()
                message = {"type": "http.response.body"}
            await send(message)

        await self.app(scope, receive_noted, send_ending_last)
