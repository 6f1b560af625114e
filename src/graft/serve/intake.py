"""What a request may cost: its body's size, the time it takes to come, and its place in the queue.

The body is read whole before the application is asked, so that nobody who sends slowly holds a place that others wait
for: hundreds of slow senders cost their bytes, which are counted, and nothing else. Sizes are counted as the bytes come
in, because a header can lie or be missing.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graft.errors import DataError
from graft.serve import environment
from graft.serve.doors import DOOR, Door
from graft.serve.refusal import refusal

_RETRY = {"Retry-After": "1"}  # seconds; a place in the queue is free sooner than that
_CLOSE = {"Connection": "close"}


class Refused(Exception):  # noqa: N818 - it is no error of ours
    """A request that is not passed on, and what is answered."""

    def __init__(self, answer: JSONResponse) -> None:
        self.answer = answer


@dataclass(frozen=True)
class Limits:
    """What all requests together, and each of them, may cost in this worker.

    Attributes:
        held: bytes of all bodies that are held at once.
        queue: requests whose body is there and that are being answered, or wait for that.
        body_seconds: within which a body must have come.
        answer_seconds: within which the application must have answered.
    """

    held: int
    queue: int
    body_seconds: float
    answer_seconds: float

    @classmethod
    def set_by_the_environment(cls) -> Limits:
        """What the variables say. Raises ConfigError where they cannot be used."""
        return cls(
            environment.mebibytes("GRAFT_MAX_WAITING_BODIES"),
            int(environment.number("GRAFT_QUEUE")),
            environment.number("GRAFT_BODY_SECONDS"),
            environment.number("GRAFT_TIMEOUT"),
        )


class Intake:
    """ASGI middleware: a request with a body is passed on when that is there, small enough, and its turn has come."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self.app = app
        self.limits = limits
        self.held = 0
        self.running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it with 408, 413 or 429."""
        door: Door | None = scope.get(DOOR)
        if door is None or door.most is None:
            await self.app(scope, receive, send)
            return
        chunks: list[bytes] = []
        try:
            # Both before and after reading: whoever comes to a full queue is told so at once.
            self._look_at_the_queue()
            if _declared_length(scope) > door.most:
                raise Refused(_too_large(door))
            await self._read(receive, door, chunks)
            self._look_at_the_queue()
            await self._answer(scope, chunks, receive, send)
        except Refused as refused:
            self._let_go(chunks)
            await refused.answer(scope, receive, send)
        except ClientDisconnect:
            pass  # nobody is there to be answered
        finally:
            self._let_go(chunks)

    def _let_go(self, chunks: list[bytes]) -> None:
        self.held -= sum(map(len, chunks))
        chunks.clear()

    async def _read(self, receive: Receive, door: Door, chunks: list[bytes]) -> None:
        """Take the body, a chunk at a time."""
        size, limit = 0, door.most or 0
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    chunk, more = message.get("body", b""), message.get("more_body", False)
                    size += len(chunk)
                    if size > limit:
                        raise Refused(_too_large(door))
                    if self.held + len(chunk) > self.limits.held:
                        raise Refused(_busy("the service holds as many uploads as it can"))
                    self.held += len(chunk)
                    chunks.append(chunk)
        except TimeoutError:
            error = DataError(
                f"the request did not arrive within {self.limits.body_seconds:g} seconds",
                remedy="send it again on a faster connection, or send a smaller image",
            )
            raise Refused(refusal(error, 408, _CLOSE)) from None

    async def _answer(self, scope: Scope, chunks: list[bytes], receive: Receive, send: Send) -> None:
        """Ask the application, in its time; it takes the body over, and holds it until it is over itself."""
        body = b"".join(chunks)
        size = len(body)
        chunks.clear()
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        del body
        begun, given_up = False, False

        async def receive_read() -> Message:
            return waiting.pop() if waiting else await receive()

        async def send_unless_given_up(message: Message) -> None:
            nonlocal begun
            begun = True
            if not given_up:
                await send(message)

        def is_over(_: object) -> None:
            self.running -= 1
            self.held -= size

        self.running += 1
        # A task of its own, because what runs in a thread cannot be cancelled: it keeps its place in the queue until
        # it is over, and the sender has an answer before that.
        task = asyncio.ensure_future(self.app(scope, receive_read, send_unless_given_up))
        task.add_done_callback(is_over)
        await asyncio.wait({task}, timeout=self.limits.answer_seconds)
        if task.done() or begun:
            await task
            return
        given_up = True
        task.cancel()
        error = DataError(
            f"the answer took longer than {self.limits.answer_seconds:g} seconds",
            remedy="try again later, or send fewer images at once",
        )
        raise Refused(refusal(error, 503, _RETRY))

    def _look_at_the_queue(self) -> None:
        if self.running >= self.limits.queue:
            raise Refused(_busy(f"{self.running} requests are waiting already"))


def _busy(what: str) -> JSONResponse:
    return refusal(DataError(what, remedy="send it again in a second"), 429, _RETRY)


def _too_large(door: Door) -> JSONResponse:
    limit = door.most or 0
    size = f"{limit / 2**20:g} MiB" if limit >= 2**20 else f"{limit / 2**10:g} KiB"
    return refusal(DataError(f"the upload is larger than {size}", remedy=door.smaller), 413)


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            # Python refuses to turn thousands of digits into a number.
            return int(value) if len(value) < 20 else sys.maxsize
    return 0
