"""Access log, request ids and security headers."""

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

from graft.serving.metrics import REFUSED

HEADER = "X-Request-ID"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Probes are logged only where they fail.
_QUIET = frozenset({"/livez", "/healthz", "/readyz", "/metrics"})
_LONGEST_PATH = 200

# The page loads its own files and nothing else: no inline script or style, nothing from another site, no frames.
SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
_log = logging.getLogger("graft.access")


class AccessLogMiddleware:
    """ASGI middleware: a request id, security headers, a log line, and a counter of refusals by status."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and log its response."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        name = request_id_of(Headers(scope=scope).get(HEADER))
        token = request_id.set(name)
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status >= 400:
                    REFUSED.labels(status=str(status)).inc()
                headers = MutableHeaders(scope=message)
                for key, value in SECURITY.items():
                    headers.setdefault(key, value)
                headers[HEADER] = name
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        finally:
            _log_response(scope, status, time.perf_counter() - start)
            request_id.reset(token)


def request_id_of(sent: str | None) -> str:
    """The client's own id where it is printable, else a new one of 16 hexadecimal digits."""
    return sent if sent and _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex[:16]


def _log_response(scope: Scope, status: int, seconds: float) -> None:
    if scope["path"] in _QUIET and status < 400:
        return
    fields = {
        "client": (scope.get("client") or ("",))[0],
        "method": scope["method"],
        "path": scope["path"][:_LONGEST_PATH],
        "status": status or None,  # none where the client disconnected
        "ms": round(seconds * 1000, 2),
    }
    _log.info("request", extra={"fields": fields})


class JsonFormatter(logging.Formatter):
    """A JSON object for each log record, which no text in it can break up."""

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
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def set_up_logs() -> None:
    """Write graft's log records to standard output as JSON lines; BentoML's go where its own settings say."""
    logger = logging.getLogger("graft")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(JsonFormatter())
        logger.addHandler(handler)
