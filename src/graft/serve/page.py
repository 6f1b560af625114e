"""What people see: the page at ``/``, the few files it is made of, and the model's card at ``/model``."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import bentoml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from graft.serve import environment

FOLDER = Path(__file__).with_name("web")
PAGE = "page.html"
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
# The page's own files and nothing from elsewhere; no inline script or style, so whatever else gets in cannot run.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@cache
def read_files() -> dict[str, bytes]:
    """The page's files by name, read once: what is not among them is never looked for on the disk."""
    return {path.name: path.read_bytes() for path in sorted(FOLDER.iterdir()) if path.suffix in _KINDS}


def _show(name: str) -> Response:
    return Response(read_files()[name], headers=_HEADERS, media_type=_KINDS[Path(name).suffix])


async def show_page(_: Request) -> Response:
    """``GET /``."""
    return _show(PAGE)


async def show_file(request: Request) -> Response:
    """``GET /page.css``, ``GET /main.js`` and the like: a file of the page."""
    return _show(request.url.path.rpartition("/")[2])


async def show_model(_: Request) -> Response:
    """``GET /model``: what the model is, what it knows and how good it was on the test images."""
    card = {**bentoml.get_current_service().card, "limits": {"body": environment.mebibytes("GRAFT_MAX_BODY")}}
    return JSONResponse(card, headers={"Cache-Control": "no-cache"})


async def show_readiness(_: Request) -> Response:
    """``GET /readyz``, in BentoML's place: no request is taken before the model is loaded and warm."""
    return JSONResponse(bentoml.get_current_service().card["runtime"], headers={"Cache-Control": "no-cache"})


pages = Starlette(
    routes=[
        Route("/", show_page),
        Route("/model", show_model),
        *(Route(f"/{name}", show_file) for name in read_files() if name != PAGE),
    ]
)
