"""An application that only says that it was asked, and requests to it through a middleware."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx


async def passed(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"passed"})


def ask(
    middleware: Callable[[Any], Any],
    method: str,
    path: str,
    url: str = "http://127.0.0.1",
    app: Any = passed,
    **how: Any,
) -> httpx.Response:
    """The response to one request through ``middleware`` around ``app``."""

    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app=middleware(app))
        async with httpx.AsyncClient(transport=transport, base_url=url) as client:
            return await client.request(method, path, **how)

    return asyncio.run(go())
