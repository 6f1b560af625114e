"""What people see: the page at ``/``, whole in one file, and the model's card at ``/model``."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from graft.serve.headers import page_policy


@cache
def _html() -> str:
    return Path(__file__).with_name("page.html").read_text(encoding="utf-8")


async def show_page(_: Request) -> Response:
    """``GET /``."""
    html = _html()
    headers = {"Content-Security-Policy": page_policy(html), "Cache-Control": "no-cache"}
    return HTMLResponse(html, headers=headers)


async def show_model(_: Request) -> Response:
    """``GET /model``: what the model is, what it knows and how good it was on the test images."""
    return JSONResponse(bentoml.get_current_service().card, headers={"Cache-Control": "no-cache"})


pages = Starlette(routes=[Route("/", show_page), Route("/model", show_model)])
