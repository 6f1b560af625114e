"""The body limit alone, with applications that misbehave in ways the service does not."""

from __future__ import annotations

import asyncio
import json

import pytest

from graft.errors import DataError
from graft.serve.limits import BodyLimit


def run(app, chunks: list[bytes], headers: list[tuple[bytes, bytes]] | None = None, limit: int = 10):
    """Send ``chunks`` through the limit to ``app``; returns (status, body) of every answer that came out."""
    sent: list[dict] = []
    waiting = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> dict:
        return waiting.pop(0)

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": headers or []}
    asyncio.run(BodyLimit(app, limit)(scope, receive, send))
    starts = [message["status"] for message in sent if message["type"] == "http.response.start"]
    return starts, b"".join(message.get("body", b"") for message in sent)


async def echo_length(scope, receive, send) -> None:
    total, more = 0, True
    while more:
        message = await receive()
        total, more = total + len(message["body"]), message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(total).encode()})


async def swallow_and_answer_500(scope, receive, send) -> None:
    try:
        await echo_length(scope, receive, send)
    except Exception:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"oops"})


def test_up_to_the_limit_passes() -> None:
    assert run(echo_length, [b"12345", b"67890"]) == ([200], b"10")


@pytest.mark.parametrize("app", [echo_length, swallow_and_answer_500])
def test_one_byte_more_is_refused_once(app) -> None:
    statuses, body = run(app, [b"12345", b"678901"])
    assert statuses == [413]
    assert json.loads(body)["remedy"] == "send a smaller image, or scale it down"


def test_lying_length_is_counted_all_the_same() -> None:
    assert run(echo_length, [bytes(11)], [(b"content-length", b"5")])[0] == [413]


@pytest.mark.parametrize("length", [b"11", b"9" * 5000])
def test_declared_length_is_refused_before_the_application_is_asked(length: bytes) -> None:
    async def never(scope, receive, send) -> None:
        raise AssertionError("asked")

    assert run(never, [], [(b"content-length", length)])[0] == [413]


def test_errors_of_the_application_are_its_own() -> None:
    async def fails(scope, receive, send) -> None:
        raise DataError("its own")

    with pytest.raises(DataError, match="its own"):
        run(fails, [])


def test_answer_that_has_begun_is_not_answered_again() -> None:
    async def answers_first(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await echo_length(scope, receive, send)

    assert run(answers_first, [bytes(11)])[0] == [200]
