"""AccessLogMiddleware: request ids, security headers, log lines."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
from typing import Any

import httpx
import pytest

from graft.serving.metrics import REFUSED
from graft.serving.middleware.access_log import SECURITY, AccessLogMiddleware, JsonFormatter, request_id, request_id_of
from tests.serving.middleware import asgi


async def refused(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b"no"})


def ask(path: str, app: Any = asgi.passed, **how: Any) -> httpx.Response:
    return asgi.ask(AccessLogMiddleware, "GET", path, app=app, **how)


def accesses(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What was logged of requests, each once: what other tests set up may hand a record to caplog by two ways."""
    return [record for record in dict.fromkeys(caplog.records) if record.name == "graft.access"]


@pytest.mark.parametrize("given", ["a", "3f2b-44.x_Y", "x" * 64])
def test_harmless_names_are_kept(given: str) -> None:
    assert ask("/livez", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", [None, "", "x" * 65, "a b", "a\nb", "<script>", "é", "a\x1b[31m"])
def test_others_are_given_a_new_one(given: str | None) -> None:
    assert re.fullmatch("[0-9a-f]{16}", request_id_of(given))


def test_every_response_has_the_headers_errors_too() -> None:
    for app in (asgi.passed, refused):
        headers = ask("/model", app).headers
        assert {name: headers[name] for name in SECURITY} == SECURITY


def test_a_line_of_the_log_is_one_object_whatever_was_asked(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "graft"):
        ask('/%0a{"level": "forged"}' + "x" * 5000, refused)
    (record,) = accesses(caplog)
    line = JsonFormatter().format(record)
    assert "\n" not in line and len(line) < 1000
    read = json.loads(line)
    assert (read["status"], read["method"], read["level"]) == (418, "GET", "info")
    assert set(read) == {*["at", "level", "logger", "process", "message", "client", "method", "path", "status", "ms"]}


def test_a_line_says_in_which_request_it_was_and_what_was_raised() -> None:
    token = request_id.set("mine")
    try:
        raise ValueError("why")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, __file__, 1, "said %s", ("so",), sys.exc_info())
        read = json.loads(JsonFormatter().format(record))
    finally:
        request_id.reset(token)
    assert (read["request"], read["message"]) == ("mine", "said so")
    assert "ValueError: why" in read["traceback"]


def test_probes_are_logged_only_where_they_fail(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "graft"):
        ask("/readyz")
        ask("/readyz", refused)
    assert [record.fields["status"] for record in accesses(caplog)] == [418]  # type: ignore[attr-defined]


def test_who_has_a_refusal_finds_it_counted() -> None:
    counter = REFUSED.labels(status="418")
    counted = [counter.collect()[0].samples[0].value]

    async def send(message: dict[str, Any]) -> None:
        counted.append(counter.collect()[0].samples[0].value)

    async def receive() -> dict[str, Any]:
        raise AssertionError("asked")

    asyncio.run(
        AccessLogMiddleware(refused)({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send)
    )
    assert counted == [counted[0], counted[0] + 1, counted[0] + 1]
