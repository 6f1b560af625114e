"""Which names the service answers to, and whose pages may post: what browsers say of themselves is believed."""

from __future__ import annotations

from functools import partial

import httpx
import pytest

from graft.serving.middleware.origin import OriginMiddleware
from tests.serving.middleware import asgi


def ask(method: str, headers: dict[str, str], hosts: tuple[str, ...] = ()) -> httpx.Response:
    middleware = partial(OriginMiddleware, hosts=hosts)
    return asgi.ask(middleware, method, "/predict", "http://127.0.0.1:3000", headers=headers)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:3000", "127.0.0.1:3000", "[::1]:3000", "192.168.1.5", "10.0.0.1:1"]
)
def test_addresses_and_localhost_are_its_own_names(host: str) -> None:
    assert ask("GET", {"Host": host}).status_code == ask("POST", {"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["rebound.example", "rebound.example:3000", "localhost.example", "x", "[", "a@127.0.0.1@b:x"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_other_names_are_refused_until_they_are_given(method: str, host: str) -> None:
    refused = ask(method, {"Host": host})
    assert (refused.status_code, refused.json()) == (
        403,
        {
            "error": "the service does not answer to this name",
            "remedy": "name it in GRAFT_HOSTS, or use its IP address",
        },
    )
    assert ask(method, {"Host": host}, hosts=("*",)).status_code == 200


def test_names_that_were_given() -> None:
    for host in ("Images.Example.com", "images.example.com:8080", "localhost"):
        assert ask("POST", {"Host": host}, hosts=("images.example.com",)).status_code == 200
    assert ask("POST", {"Host": "example.com"}, hosts=("images.example.com",)).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # curl, and every other program
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://127.0.0.1:3000"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),  # typed by a person
        ({"Origin": "http://127.0.0.1:3000"}, 200),  # browsers send no Sec-Fetch-Site over plain HTTP
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:8888"}, 403),  # a notebook on the same machine
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:8888"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://images.example.com"}, 200),
    ],
)
def test_whose_pages_may_post(headers: dict[str, str], status: int) -> None:
    answer = ask("POST", headers, hosts=("images.example.com",))
    assert answer.status_code == status
    if status == 403:
        assert answer.json() == {
            "error": "a web page of another site may not ask this service",
            "remedy": "name the site in GRAFT_HOSTS",
        }
    assert ask("GET", headers, hosts=("images.example.com",)).status_code == 200  # a link; what it says is not readable
