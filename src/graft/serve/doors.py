"""Every path that the service answers, in one table; all others, and other methods, are refused before anything runs.

BentoML adds paths of its own, and counts requests by whatever path was asked for: a sender who makes up paths would
make its memory grow. To add a path, add a row to ``DOORS``.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from graft.errors import DataError
from graft.serve import environment
from graft.serve.page import PAGE, read_files
from graft.serve.refusal import refusal

DOOR = "graft.door"  # the key of the scope under which the request's row is found further in


@dataclass(frozen=True)
class Door:
    """One path.

    Attributes:
        path: as it is asked for.
        methods: what may be done there.
        is_open: whether it is answered without the key: what probes ask, and the page, which holds no secret.
        body: how large a request's body may be, in bytes, or the variable that says so; None where there is no body.
        smaller: what to do where it is larger.
    """

    path: str
    methods: frozenset[str]
    is_open: bool = False
    body: str | int | None = None
    smaller: str = "send a smaller image, or scale it down"

    @property
    def most(self) -> int | None:
        """Bytes that a request's body may have; None where there is no body."""
        return environment.mebibytes(self.body) if isinstance(self.body, str) else self.body


_GET = frozenset({"GET", "HEAD"})
_POST = frozenset({"POST"})
# An id and a class's name; it is parsed in the loop that serves all.
_CORRECTION = 4 << 10
DOORS = (
    Door("/", _GET, is_open=True),
    *(Door(f"/{name}", _GET, is_open=True) for name in read_files() if name != PAGE),
    Door("/livez", _GET, is_open=True),
    Door("/healthz", _GET, is_open=True),
    Door("/readyz", _GET, is_open=True),
    Door("/metrics", _GET),
    Door("/model", _GET),
    Door("/docs.json", _GET),
    Door("/schema.json", _GET),
    Door("/predict", _POST, body="GRAFT_MAX_BODY"),
    Door("/predict_batch", _POST, body="GRAFT_MAX_BATCH_BODY"),
    Door("/feedback", _POST, body=_CORRECTION, smaller="send an answer's id and a class of the model, and no more"),
)
_BY_PATH = {door.path: door for door in DOORS}


class Doorkeeper:
    """ASGI middleware: only known paths and methods, only with the key where there is one, no web sockets.

    Args:
        app: what is asked when a request may pass.
        key: what senders must show; empty where none is asked for.
    """

    def __init__(self, app: ASGIApp, key: str = "") -> None:
        self.app = app
        self.key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its row in the scope, or refuse it."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        door = _BY_PATH.get(scope["path"])
        if door is None:
            error = DataError("there is nothing at this path", remedy="see /docs.json for what there is")
            await refusal(error, status=404)(scope, receive, send)
        elif scope["method"] not in door.methods:
            allowed = ", ".join(sorted(door.methods))
            error = DataError(f"{door.path} does not take this method", remedy=f"use {sorted(door.methods)[0]}")
            await refusal(error, 405, {"Allow": allowed})(scope, receive, send)
        elif self.key and not door.is_open and not self._is_shown(Headers(scope=scope)):
            error = DataError("the API key is missing or wrong", remedy="send it as `Authorization: Bearer KEY`")
            await refusal(error, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, send)
        else:
            scope[DOOR] = door
            await self.app(scope, receive, send)

    def _is_shown(self, headers: Headers) -> bool:
        """Whether the right key is in the request; how long that takes says nothing of the key."""
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        shown = [bearer.strip() if scheme.lower() == "bearer" else "", headers.get("x-api-key", "")]
        # Both are compared, always: headers come as latin-1, the key was set as UTF-8.
        found = [hmac.compare_digest(given.encode("latin-1"), self.key) for given in shown]
        return any(found)
