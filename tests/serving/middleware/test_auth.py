"""AuthMiddleware: who may ask, with and without an API key."""

from __future__ import annotations

from functools import partial
from typing import Any

import httpx
import pytest

from graft.serving.middleware.auth import AuthMiddleware, is_loopback
from tests.serving.middleware.asgi import ask

KEY = "s3cret-ü"
PUBLIC = {"/", "/livez"}


def asked(
    path: str = "/model", method: str = "GET", key: str = KEY, remote: bool = False, **how: Any
) -> httpx.Response:
    middleware = partial(AuthMiddleware, api_key=key, allow_remote=remote, public_paths=PUBLIC)
    return ask(middleware, method, path, **how)


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
def test_api_key(headers: dict[str, Any], status: int) -> None:
    response = asked(headers=headers)
    assert response.status_code == status
    if status == 401:
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json() == {
            "error": "the API key is missing or wrong",
            "remedy": "send it as `Authorization: Bearer KEY`",
        }


def test_public_paths_and_preflights_need_no_key() -> None:
    assert [asked(path).status_code for path in ("/", "/livez", "/metrics", "/livez/x")] == [200, 200, 401, 401]
    assert asked("/predict", "OPTIONS").status_code == 200


@pytest.mark.parametrize(
    ("url", "remote", "status"),
    [
        ("http://127.0.0.1:3000", False, 200),
        ("http://[::1]:3000", False, 200),
        ("http://192.168.1.5:3000", False, 401),
        ("http://192.168.1.5:3000", True, 200),
    ],
)
def test_without_a_key_only_this_machine_may_ask_unless_open(url: str, remote: bool, status: int) -> None:
    response = asked(key="", remote=remote, url=url)
    assert response.status_code == status
    if status == 401:
        assert "GRAFT_API_KEY" in response.json()["remedy"] and "GRAFT_OPEN=1" in response.json()["remedy"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.2", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("a.example", False),
    ],
)
def test_loopback_addresses(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected
