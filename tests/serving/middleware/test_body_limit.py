"""BodyLimitMiddleware: 413 by Content-Length, and for bodies that say nothing of their length."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from graft.serving.middleware.body_limit import BodyLimitMiddleware
from tests.serving.middleware.asgi import ask

LIMIT = 1048


async def length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


APP = Starlette(routes=[Route(path, length, methods=["POST"]) for path in ("/predict", "/other")])


def post(path: str = "/predict", **how: Any) -> httpx.Response:
    return ask(lambda app: BodyLimitMiddleware(app, {"/predict": LIMIT}), "POST", path, app=APP, **how)


async def chunks(size: int) -> AsyncIterator[bytes]:
    for start in range(0, size, 100):
        yield bytes(min(100, size - start))


def test_up_to_the_limit_passes() -> None:
    assert post(content=bytes(LIMIT)).text == post(content=chunks(LIMIT)).text == str(LIMIT)
    assert post("/other", content=bytes(2 * LIMIT)).text == str(2 * LIMIT)


def test_one_byte_more_is_refused() -> None:
    declared = post(content=bytes(LIMIT + 1))
    assert (declared.status_code, declared.json()) == (
        413,
        {"error": "the upload is larger than 1.02344 KiB", "remedy": "send a smaller image, or fewer at once"},
    )
    assert post(content=chunks(LIMIT + 1)).status_code == 413


@pytest.mark.parametrize("declared", ["9" * 5000, "99999999999999999999"])
def test_lengths_beyond_any_number(declared: str) -> None:
    assert post(content=b"x", headers={"Content-Length": declared}).status_code == 413
