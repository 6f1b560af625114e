"""Names of requests, headers of answers, lines of the log."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
from typing import Any

import pytest

from graft.serve.metrics import metrics
from graft.serve.watch import SECURITY, JsonLines, TextLines, Watch, name_of, request_id
from tests.serve.test_doors import ask


def accesses(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What was logged of requests, each once: what other tests set up may hand a record to caplog by two ways."""
    return [record for record in dict.fromkeys(caplog.records) if record.name == "graft.access"]


@pytest.mark.parametrize("given", ["a", "3f2b-44.x_Y", "x" * 64])
def test_harmless_names_are_kept(given: str) -> None:
    assert ask("GET", "/livez", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", [None, "", "x" * 65, "a b", "a\nb", "<script>", "é", "a\x1b[31m"])
def test_others_are_given_a_new_one(given: str | None) -> None:
    assert re.fullmatch("[0-9a-f]{16}", name_of(given))


def test_every_answer_has_the_headers_refusals_too() -> None:
    for path in ("/livez", "/nothing"):
        headers = ask("GET", path).headers
        assert {name: headers[name] for name in SECURITY} == SECURITY


def test_what_was_not_foreseen_is_logged_whole_and_told_in_the_shape_of_refusals(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("a fault of ours")

    with caplog.at_level(logging.INFO, "graft"):
        answer = ask("GET", "/livez", app=fails, headers={"X-Request-ID": "mine"})
    assert answer.status_code == 500
    assert answer.json() == {
        "error": "the service failed on this request",
        "remedy": "its log says more of request mine",
    }
    assert "a fault of ours" in caplog.text
    assert "a fault of ours" not in answer.text


def test_a_line_of_the_log_is_one_object_whatever_was_asked(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "graft"):
        ask("GET", '/%0a{"level": "forged"}' + "x" * 5000)
    (record,) = accesses(caplog)
    line = JsonLines().format(record)
    assert "\n" not in line and len(line) < 1000
    read = json.loads(line)
    assert (read["status"], read["method"], read["level"]) == (404, "GET", "info")
    assert set(read) == {*["at", "level", "logger", "process", "message", "client", "method", "path", "status", "ms"]}
    assert "status=404" in TextLines("%(message)s").format(record)


def test_lines_for_people_cannot_be_forged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "graft"):
        ask("GET", "/a%0a2026-01-01 INFO graft.access request path=/predict%1b[2J%c2%9b status=200 ms=1")
    (record,) = accesses(caplog)
    line = TextLines("%(asctime)s %(levelname)s %(name)s %(message)s").format(record)
    assert line.isascii() and line.isprintable()
    assert re.search(r' path="/a\\n2026-01-01 .* status=200 ms=1" status=404 ms=[0-9.]+$', line)
    assert line.count(" status=404") == 1
    try:
        raise ValueError("why\n2026-01-01 INFO forged \x1b[31m")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, __file__, 1, "said", (), sys.exc_info())
    first, *others = TextLines("%(message)s").format(record).split("\n")
    assert first == "said" and all(one.startswith("    ") for one in others)
    assert others[-1] == "    2026-01-01 INFO forged \\x1b[31m"


def test_a_line_says_in_which_request_it_was_and_what_was_raised() -> None:
    token = request_id.set("mine")
    try:
        raise ValueError("why")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, __file__, 1, "said %s", ("so",), sys.exc_info())
        read = json.loads(JsonLines().format(record))
    finally:
        request_id.reset(token)
    assert (read["request"], read["message"]) == ("mine", "said so")
    assert "ValueError: why" in read["traceback"]


def test_probes_are_logged_only_where_they_fail(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "graft"):
        ask("GET", "/readyz")
        ask("POST", "/readyz")
    assert [record.facts["status"] for record in accesses(caplog)] == [405]  # type: ignore[attr-defined]


def test_who_has_a_refusal_finds_it_counted() -> None:
    counter = metrics().refused.labels(status="418")
    counted = [counter.collect()[0].samples[0].value]

    async def refuses(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})

    async def send(message: dict[str, Any]) -> None:
        counted.append(counter.collect()[0].samples[0].value)

    async def receive() -> dict[str, Any]:
        raise AssertionError("asked")

    asyncio.run(Watch(refuses)({"type": "http", "method": "GET", "path": "/", "headers": []}, receive, send))
    assert counted == [counted[0], counted[0] + 1, counted[0] + 1]
