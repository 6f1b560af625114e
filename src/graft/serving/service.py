"""The BentoML service.

``bentoml serve`` in a project's folder serves its production model; a built Bento serves the model it was built with;
``GRAFT_MODEL=<folder>`` serves that one instead. BentoML adds ``/livez``, ``/readyz`` and ``/metrics``, time-outs and
the limit of concurrent requests; routes are in routes.py, settings in environment.py.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import bentoml
import click
from bentoml.exceptions import BentoMLException

from graft.core.errors import ConfigError, GraftError
from graft.core.workspace import Workspace
from graft.serving.capacity import Capacity
from graft.serving.middleware.access_log import HEADER, AccessLogMiddleware, set_up_logs
from graft.serving.middleware.auth import AuthMiddleware, is_loopback
from graft.serving.middleware.body_limit import BodyLimitMiddleware
from graft.serving.middleware.origin import OriginMiddleware
from graft.serving.model.bundle import ModelBundle
from graft.serving.model.location import VARIABLE, check_model, model_folder
from graft.serving.model.project_model import ProjectModel, labels_of
from graft.serving.model.reload import LiveModel
from graft.serving.page import PAGE_ROUTES
from graft.serving.prediction_log.record import open_prediction_log
from graft.serving.readme import readme_of
from graft.serving.routes import ModalityRoutes, body_limits
from graft.serving.settings import ServiceSettings, make_paths_absolute, text, unknown_variables

T = TypeVar("T")

# BentoML imports this file with the project's folder, or the Bento's copy of it, as the working folder.
ROOT = Path.cwd()
# Only this machine can ask, unless one says `--host 0.0.0.0`; in a container the container is the wall.
HOST = "0.0.0.0" if os.environ.get("BENTOML_CONTAINERIZED") == "true" else "127.0.0.1"
PUBLIC_PATHS = {"/livez", "/healthz", "/readyz", *(route.path for route in PAGE_ROUTES)}
try:
    SETTINGS = ServiceSettings.from_environment()
except GraftError as error:
    raise BentoMLException(error.message()) from None
CAPACITY = Capacity.of_this_machine(SETTINGS.workers)


class ImageClassifier:
    """Image classification: the loaded model, its prediction log, and threads to compute in."""

    packaged = ProjectModel.in_project(ROOT)

    def __init__(self) -> None:
        set_up_logs()
        bento = Classifier.bento
        self.live = LiveModel(
            partial(model_folder, bento, ROOT), partial(ModelBundle.load, capacity=CAPACITY, settings=SETTINGS)
        )
        if bento is None or text(VARIABLE):
            self.live.watch()  # a Bento's own model never changes
        self.prediction_log = open_prediction_log(SETTINGS, Workspace(ROOT).prediction_log if bento is None else None)
        self.threads = anyio.CapacityLimiter(CAPACITY.threads)
        # What is loaded now stays: collecting it as garbage stopped every request for 0.07 to 0.09 s.
        gc.collect()
        gc.freeze()

    @property
    def bundle(self) -> ModelBundle:
        """The model that predicts now."""
        return self.live.current

    async def compute(self, call: Callable[..., T], *args: Any) -> T:
        """Run ``call`` in a worker thread; as many at once as this worker's share of the cores."""
        return await anyio.to_thread.run_sync(call, *args, limiter=self.threads)

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def check() -> None:
        """Before any worker starts: refuse a model that cannot be served, and an open address without a key."""
        try:
            for warning in unknown_variables():
                print(f"warning: {warning}", file=sys.stderr, flush=True)
            make_paths_absolute()
            check_host(requested_host(), SETTINGS)
            check_model(model_folder(Classifier.bento, ROOT))
        except GraftError as error:
            raise BentoMLException(error.message()) from None

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """After the last response: stop watching for models, and write the rest of the prediction log."""
        self.live.stop()
        self.prediction_log.close()


def requested_host() -> str:
    """The address that ``bentoml serve --host`` (or BENTOML_HOST) names, else the default."""
    context = click.get_current_context(silent=True)
    return (context.params.get("host") if context else None) or HOST


def check_host(host: str, settings: ServiceSettings) -> None:
    """Refuse to serve other machines without a key. Requests are checked as well, by AuthMiddleware.

    Raises:
        ConfigError: the address is not a loopback one, and neither a key nor GRAFT_OPEN is set.
    """
    if is_loopback(host) or settings.api_key or settings.allow_remote:
        return
    raise ConfigError(
        f"the service would answer everybody who can reach {host}, and no API key is set",
        remedy="set GRAFT_API_KEY to the key that clients must send, or GRAFT_OPEN=1 if that is meant",
    )


# Not named `graft`: given `graft:<version>` BentoML would first import an installed module of that name.
Classifier: Any = bentoml.service(
    name="graft_classifier",
    workers=CAPACITY.workers,
    traffic={"timeout": 60, "max_concurrency": 64 * CAPACITY.workers},
    # CORS is off unless BentoML's settings switch it on and name origins.
    http={
        "host": HOST,
        "port": 3000,
        "cors": {
            "access_control_allow_methods": ["GET", "POST"],
            "access_control_allow_headers": ["Authorization", "X-API-Key", HEADER],
            "access_control_expose_headers": [HEADER, "Retry-After"],
        },
    },
    logging={"access": {"enabled": False}},  # AccessLogMiddleware takes its place
    tracing={"excluded_urls": ".*"},  # spans that nobody collects cost 7% of a request
    labels=labels_of(ROOT),
    description=readme_of(ROOT),  # the README of a Bento
)(ImageClassifier)
Classifier.mount_asgi_app(ModalityRoutes(bentoml.get_current_service, SETTINGS), path="/", name="routes")
# From the outermost to the innermost.
Classifier.add_asgi_middleware(AccessLogMiddleware)
Classifier.add_asgi_middleware(OriginMiddleware, hosts=SETTINGS.hosts)
Classifier.add_asgi_middleware(
    AuthMiddleware, api_key=SETTINGS.api_key, allow_remote=SETTINGS.allow_remote, public_paths=PUBLIC_PATHS
)
Classifier.add_asgi_middleware(BodyLimitMiddleware, limits=body_limits(SETTINGS))
