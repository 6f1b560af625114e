"""Whether a host can be reached: by any of its addresses, and in seconds."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from graft.online import reachable


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port where 127.0.0.2 answers nobody, as behind a firewall that drops, and 127.0.0.1 answers."""
    monkeypatch.setenv("no_proxy", "*")
    with ExitStack() as opened:
        hole, there = (opened.enter_context(socket.socket()) for _ in range(2))
        there.bind(("127.0.0.1", 0))
        port = there.getsockname()[1]
        try:
            hole.bind(("127.0.0.2", port))
        except OSError:
            pytest.skip("this machine has no 127.0.0.2")
        there.listen()
        hole.listen(0)
        for _ in range(3):  # once its queue is full, the kernel answers no more
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.2", port))
        yield port


def resolve(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    def found(_: str, port: int, *__: object, **___: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]

    monkeypatch.setattr(socket, "getaddrinfo", found)


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        (["127.0.0.2", "127.0.0.1"], True),
        (["127.0.0.1", "127.0.0.2"], True),
        (["127.0.0.2"], False),
        (["127.0.0.3", "127.0.0.1"], True),
        (["127.0.0.3"], False),
    ],
    ids=["black hole first", "black hole last", "black hole alone", "refused first", "refused"],
)
def test_one_address_that_answers_is_enough(
    ports: int, hosts: list[str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve(monkeypatch, *hosts)
    assert reachable(f"http://host.example:{ports}/") is expected
