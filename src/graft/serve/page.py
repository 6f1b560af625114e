"""What people see: the page at ``/``, whole in one file, and the model's card at ``/model``."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

# The page needs its own inline style and script and nothing from elsewhere; whatever else gets in cannot run.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@cache
def _html() -> str:
    return Path(__file__).with_name("page.html").read_text(encoding="utf-8")


async def show_page(_: Request) -> Response:
    """``GET /``."""
    return HTMLResponse(_html(), headers=_HEADERS)


async def show_model(_: Request) -> Response:
    """``GET /model``: what the model is, what it knows and how good it was on the test images."""
    return JSONResponse(bentoml.get_current_service().card, headers={"Cache-Control": "no-cache"})


pages = Starlette(routes=[Route("/", show_page), Route("/model", show_model)])
