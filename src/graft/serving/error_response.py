"""The one shape of all error responses: ``{"error", "remedy"}``."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse


def error_response(
    status: int, error: str, remedy: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """A response that says what is wrong and what to do about it."""
    return JSONResponse({"error": error, "remedy": remedy}, status_code=status, headers=headers)
