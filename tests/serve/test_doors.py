"""Who may pass: known paths and methods, the key where one is set, nothing but HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from graft.serve.doors import DOORS, Door, Doorkeeper
from graft.serve.watch import Watch

KEY = "s3cret-ü"


async def passed(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"passed"})


def ask(method: str, path: str, key: str = "", app: Any = passed, **how: Any) -> httpx.Response:
    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app=Watch(Doorkeeper(app, key)), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.request(method, path, **how)

    return asyncio.run(go())


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.path)
def test_each_door_takes_its_methods_and_asks_for_the_key_unless_it_is_open(door: Door) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        answer = ask(method, door.path)
        assert answer.status_code == (200 if method in door.methods else 405)
        assert answer.status_code == 200 or answer.headers["allow"] == ", ".join(sorted(door.methods))
    method = min(door.methods)
    assert ask(method, door.path, KEY).status_code == (200 if door.is_open else 401)


def test_what_is_open_tells_nothing_of_the_model() -> None:
    closed = {door.path for door in DOORS if not door.is_open}
    assert {"/predict", "/predict_batch", "/feedback", "/model", "/metrics", "/docs.json", "/schema.json"} == closed


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": f"Bearer {KEY}".encode()}, 200),
        ({"authorization": f"bearer  {KEY}".encode()}, 200),
        ({"X-API-Key": KEY.encode()}, 200),
        ({}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": f"Basic {KEY}".encode()}, 401),
        ({"Authorization": KEY.encode()}, 401),
        ({"X-API-Key": KEY[:-1]}, 401),
        ({"X-API-Key": f"{KEY}x".encode()}, 401),
        ({"X-API-Key": b"\xff\xfe"}, 401),
        ({"X-API-Key": ""}, 401),
    ],
)
def test_the_key(headers: dict[str, Any], status: int) -> None:
    answer = ask("GET", "/model", KEY, headers=headers)
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json() == {
            "error": "the API key is missing or wrong",
            "remedy": "send it as `Authorization: Bearer KEY`",
        }


@pytest.mark.parametrize("path", ["/nothing", "/predict/", "/static_content/a", "/%00", "/x" * 999])
def test_unknown_paths_are_refused_before_anybody_counts_them(path: str) -> None:
    async def never(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("asked")

    answer = ask("GET", path, app=never)
    assert (answer.status_code, answer.json()["error"]) == (404, "there is nothing at this path")


def test_web_sockets_are_closed() -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(Doorkeeper(passed)({"type": "websocket", "path": "/predict", "headers": []}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
