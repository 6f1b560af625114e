"""The one shape in which the service says no."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse

from graft.errors import GraftError


def refusal(error: GraftError, status: int = 400, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """``error`` says what is wrong, ``remedy`` what to do; where it is wrong is the service's own affair."""
    return JSONResponse({"error": error.what, "remedy": error.remedy}, status_code=status, headers=headers)
