"""All that stands before the service: names and headers, known doors and the key, what a request may cost.

It stands before BentoML's own counting and tracing as well, so that what is refused costs next to nothing, and nobody
can make BentoML count paths that do not exist.
"""

from __future__ import annotations

from typing import Any

from _bentoml_sdk import Service
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.server.http.traffic import TimeoutMiddleware
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.routing import Route

from graft.serve import environment
from graft.serve.doors import Doorkeeper
from graft.serve.intake import Intake, Limits
from graft.serve.leaving import take_who_waits
from graft.serve.openapi import Document
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


class GuardedService(Service):  # type: ignore[misc]  # BentoML's class has no types
    """A BentoML service whose application is behind the guards, and whose OpenAPI document is ours."""

    def to_asgi(self, is_main: bool = True) -> Any:
        """Called by every worker, before it makes its server."""
        app = super().to_asgi(is_main)
        app.router.routes.insert(0, Route("/readyz", show_readiness))
        set_up_logs(environment.one_of("GRAFT_LOG", "json", "text"))
        install(environment.number("GRAFT_HEADER_SECONDS"), int(environment.number("GRAFT_CONNECTIONS")))
        take_who_waits()
        app.user_middleware = [entry for entry in app.user_middleware if entry.cls not in _unwanted()]
        # Each is put before those that are there: the last is asked first.
        app.add_middleware(Intake, limits=Limits.set_by_the_environment())
        app.add_middleware(Doorkeeper, key=environment.text("GRAFT_API_KEY"))
        app.add_middleware(Watch)
        return app

    @property
    def openapi_spec(self) -> Document:
        """What ``/docs.json`` shows."""
        return Document()
