"""The page for people at ``/``, and the files it loads."""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route

FOLDER = Path(__file__).with_name("web")
PAGE = "page.html"
_SUFFIXES = {".html", ".css", ".js"}


def _route(path: str, file: Path) -> Route:
    async def show(_: Request) -> FileResponse:
        return FileResponse(file, headers={"Cache-Control": "no-cache"})

    return Route(path, show)


_FILES = sorted(path for path in FOLDER.iterdir() if path.suffix in _SUFFIXES)
PAGE_ROUTES = [_route("/" if file.name == PAGE else f"/{file.name}", file) for file in _FILES]
