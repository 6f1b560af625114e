"""All that stands before the service: names and headers, whose pages may ask, known doors, the key, what it may cost.

It stands before BentoML's own counting and tracing as well, so that what is refused costs next to nothing, and nobody
can make BentoML count paths that do not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from _bentoml_sdk import Service
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.server.http.traffic import TimeoutMiddleware
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from graft.serve import environment
from graft.serve.doors import Doorkeeper
from graft.serve.intake import Intake, Limits
from graft.serve.leaving import take_who_waits
from graft.serve.linger import Linger
from graft.serve.openapi import Document
from graft.serve.origin import ANY, SameOrigin
from graft.serve.page import show_readiness
from graft.serve.patience import install
from graft.serve.watch import Watch, set_up_logs


def _unwanted() -> set[type]:
    """What BentoML puts around every application and this one is better without."""
    # It waits to its end for an application that failed before it answered; GRAFT_TIMEOUT takes its place.
    unwanted: set[type] = {TimeoutMiddleware}
    if BentoMLContainer.tracing.exporter_type.get() is None:
        # It makes spans that go nowhere, for 7% of what a request costs.
        unwanted.add(OpenTelemetryMiddleware)
    return unwanted


def _hosts(key: str) -> list[str]:
    """The names that the service answers to; any where a key, or nothing, is what keeps strangers out."""
    named = [name.strip() for name in environment.text("GRAFT_HOSTS").split(",") if name.strip()]
    return named or ([ANY] if key or environment.is_on("GRAFT_OPEN") else [])


def _allowed_by(cors: Sequence[Middleware]) -> Callable[[str], bool]:
    """Whether BentoML's CORS settings allow an origin."""
    found = [CORSMiddleware(_nothing, **entry.kwargs) for entry in cors]  # type: ignore[arg-type]
    return lambda origin: any(one.is_allowed_origin(origin) for one in found)


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that is never asked."""


class GuardedService(Service):  # type: ignore[misc]  # BentoML's class has no types
    """A BentoML service whose application is behind the guards, and whose OpenAPI document is ours."""

    def to_asgi(self, is_main: bool = True) -> Any:
        """Called by every worker, before it makes its server."""
        app = super().to_asgi(is_main)
        app.router.routes.insert(0, Route("/readyz", show_readiness))
        set_up_logs(environment.one_of("GRAFT_LOG", "json", "text"))
        install(environment.number("GRAFT_HEADER_SECONDS"), int(environment.number("GRAFT_CONNECTIONS")))
        take_who_waits()
        limits, key = Limits.set_by_the_environment(), environment.text("GRAFT_API_KEY")
        # Only where somebody switched it on. It comes first, because browsers send no key with a preflight.
        cors = [entry for entry in app.user_middleware if entry.cls is CORSMiddleware]
        unwanted = {*_unwanted(), CORSMiddleware}
        app.user_middleware = [
            Middleware(Watch),
            Middleware(Linger, seconds=limits.body_seconds),
            *cors,
            Middleware(SameOrigin, hosts=_hosts(key), allows=_allowed_by(cors)),
            Middleware(Doorkeeper, key=key),
            Middleware(Intake, limits=limits),
            *(entry for entry in app.user_middleware if entry.cls not in unwanted),
        ]
        return app

    @property
    def openapi_spec(self) -> Document:
        """What ``/docs.json`` shows."""
        return Document()
