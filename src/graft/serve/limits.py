"""What a request may cost: the body's size, counted as it comes in, because a header can lie or be missing."""

from __future__ import annotations

import sys

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graft.errors import DataError

MAX_BODY = 20 * 1024 * 1024  # bytes


class BodyLimit:
    """ASGI middleware: a request whose body is larger than ``limit`` bytes is answered with 413, at once."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if _declared_length(scope) > self.limit:
            await self._refuse(scope, receive, send)
            return
        counted = 0
        answered = False

        async def receive_counted() -> Message:
            nonlocal counted
            message = await receive()
            counted += len(message.get("body", b""))
            if counted > self.limit:
                # Ends the reading. What the application then answers is dropped for the 413.
                raise self._error()
            return message

        async def send_unless_refused(message: Message) -> None:
            nonlocal answered
            if counted > self.limit and not answered:
                return
            answered = True
            await send(message)

        try:
            await self.app(scope, receive_counted, send_unless_refused)
        except DataError:
            if counted <= self.limit:
                raise
        if counted > self.limit and not answered:
            await self._refuse(scope, receive, send)

    def _error(self) -> DataError:
        return DataError(
            f"the upload is larger than {self.limit / 2**20:g} MiB", remedy="send a smaller image, or scale it down"
        )

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        await refusal(self._error(), status=413)(scope, receive, send)


def refusal(error: DataError, status: int = 400) -> JSONResponse:
    """The one shape in which the service says no: ``error`` says what is wrong, ``remedy`` what to do."""
    return JSONResponse({"error": error.what, "remedy": error.remedy}, status_code=status)


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            # Python refuses to turn thousands of digits into a number.
            return int(value) if len(value) < 20 else sys.maxsize
    return 0
