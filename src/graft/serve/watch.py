"""Every request gets a name, every answer its headers, and the log a line: what happened, and how long it took."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import uuid
from contextvars import ContextVar
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from graft.errors import GraftError
from graft.serve.metrics import metrics
from graft.serve.refusal import refusal

HEADER = "X-Request-ID"
_PLAIN = re.compile(r"[A-Za-z0-9._:/%-]+")
_HARMLESS = re.compile(r"[A-Za-z0-9._-]{1,64}")
# What monitors ask every few seconds is logged only where it goes wrong.
_QUIET = frozenset({"/livez", "/healthz", "/readyz", "/metrics"})
_LONGEST_PATH = 200

# For answers that say nothing of their own, such as JSON: nothing in them may be run, framed or guessed at.
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
_log = logging.getLogger("graft.access")


class Watch:
    """ASGI middleware, the outermost: names requests, adds headers to answers, and writes the log.

    What escapes from the application is logged whole and answered with 500 in the shape of all refusals.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and see what becomes of it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = time.perf_counter()
        name = name_of(Headers(scope=scope).get(HEADER))
        token = request_id.set(name)
        status = 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status >= 400:  # before the answer is sent: who has it finds it counted
                    metrics().refused.labels(status=str(status)).inc()
                headers = MutableHeaders(scope=message)
                for key, value in SECURITY.items():
                    headers.setdefault(key, value)
                headers[HEADER] = name
            await send(message)

        try:
            await self.app(scope, receive, send_marked)
        except Exception:
            _log.exception("a request failed in a way that was not foreseen")
            if status:
                raise
            error = GraftError("the service failed on this request", remedy=f"its log says more of request {name}")
            await refusal(error, 500)(scope, receive, send_marked)
        finally:
            _note(scope, status, time.perf_counter() - begun)
            request_id.reset(token)


def name_of(given: str | None) -> str:
    """The sender's own name of the request where it can be printed anywhere, else a new one of 16 hex digits."""
    return given if given and _HARMLESS.fullmatch(given) else uuid.uuid4().hex[:16]


def _note(scope: Scope, status: int, seconds: float) -> None:
    if scope["path"] in _QUIET and status < 400:
        return
    facts = {
        "client": (scope.get("client") or ("",))[0],
        "method": scope["method"],
        "path": scope["path"][:_LONGEST_PATH],
        "status": status or None,  # none where the sender went away
        "ms": round(seconds * 1000, 2),
    }
    _log.info("request", extra={"facts": facts})


class JsonLines(logging.Formatter):
    """A JSON object for each line: when, how bad, who, what, in which request, and what else there is to know."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "at": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if name := request_id.get():
            line["request"] = name
        line.update(getattr(record, "facts", {}))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextLines(logging.Formatter):
    """The same for people."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        facts = getattr(record, "facts", {})
        said = "".join(f" {key}={_quoted(value)}" for key, value in facts.items())
        # What follows the first line, such as a traceback, stands in: no sender can make up a line of the log.
        return _printable(super().format(record)).replace("\n", "\n    ") + said


def _quoted(value: object) -> str:
    """A value as it stands; in quotation marks, as in JSON, where it could be taken for more than one value."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _printable(text: str) -> str:
    """A text whose control characters, but for the ends of lines, are written out: a terminal acts on them."""
    return "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text)


def set_up_logs(kind: str) -> None:
    """Write the service's own lines to standard output, as ``json`` or ``text``, and BentoML's in the same way."""
    lines = JsonLines() if kind == "json" else TextLines("%(asctime)s %(levelname)s %(name)s %(message)s")
    # It warns of every malformed form, which is the sender's affair.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    own = logging.getLogger("graft")
    own.setLevel(logging.INFO)
    own.propagate = False
    if not own.handlers:
        own.addHandler(logging.StreamHandler(sys.stdout))
    own.handlers[0].setFormatter(lines)
    if kind != "json":
        return
    for logger in ("", "bentoml", "uvicorn.error", "circus"):
        for handler in logging.getLogger(logger).handlers:
            if type(handler) is logging.StreamHandler:
                handler.setFormatter(lines)
