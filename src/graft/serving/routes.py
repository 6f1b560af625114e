"""HTTP routes, as a FastAPI application that the BentoML service mounts.

Not ``@bentoml.api``: BentoML's own reading of forms downloads from addresses in text fields and turns malformed bodies
into 500. To add a route, add a function to :func:`create_app`, and its body's limit to :func:`body_limits`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from graft import __version__
from graft.core.errors import DataError, GraftError
from graft.modalities.base import Modality, with_article
from graft.modalities.registry import modality_of
from graft.serving.archive import Member
from graft.serving.error_response import error_response
from graft.serving.inference import predict_many, predict_one
from graft.serving.middleware.body_limit import TOO_LARGE
from graft.serving.model.bundle import ModelBundle
from graft.serving.page import PAGE_ROUTES
from graft.serving.prediction_log.feedback import UnknownPredictionError, record_feedback
from graft.serving.prediction_log.writer import PredictionLogWriter
from graft.serving.request_body import body_of
from graft.serving.schemas import ErrorResponse, Feedback, ModelResponse, batch_response, predict_response
from graft.serving.settings import ServiceSettings

_FEEDBACK_BYTES = 4 << 10  # an id and a class name
_JSON = """send JSON, as in: curl --json '{"id": "...", "label": "..."}'"""
_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorResponse, "description": "refused: the request, its sender or its size"},
    "5XX": {"model": ErrorResponse, "description": "the service cannot do it now"},
}

TopK = Annotated[int | None, Query(ge=1, description="how many classes the response names; all where it is not given")]
T = TypeVar("T")


class Service(Protocol):
    """What the routes need of the service: the model that is loaded now, the log, and threads to compute in."""

    bundle: ModelBundle
    prediction_log: PredictionLogWriter

    async def compute(self, call: Callable[..., T], *args: Any) -> T:
        """Run ``call`` in a worker thread, at most as many at once as the service has threads."""
        ...


def body_limits(settings: ServiceSettings) -> Mapping[str, int]:
    """Bytes that a request's body may have, by path."""
    return {
        "/predict": settings.max_body,
        "/predict_batch": settings.max_batch_body,
        "/feedback": _FEEDBACK_BYTES,
    }


def create_app(service: Callable[[], Service], settings: ServiceSettings, modality: Modality) -> FastAPI:
    """The application for models of a modality; ``service`` returns the running service."""
    body = body_of(modality)
    app = FastAPI(
        title="graft",
        version=__version__,
        description=f"The classifier that graft made: the class of {with_article(modality.name)}, and how sure it is.",
        openapi_url="/docs.json",
        docs_url=None,
        redoc_url=None,
        routes=list(PAGE_ROUTES),
        responses=_ERRORS,
        dependencies=[Depends(HTTPBearer(auto_error=False))],  # for the document; AuthMiddleware checks the key
        generate_unique_id_function=lambda route: route.name,
    )
    _add_error_handlers(app, {"/predict": body.one_remedy, "/predict_batch": body.many_remedy, "/feedback": _JSON})

    @app.post("/predict", responses={200: {"model": predict_response()}})
    async def predict(content: bytes = Depends(body.read_one()), top_k: TopK = None) -> JSONResponse:
        """What the model says of one sample: label and probabilities, say."""
        running = service()
        answer = await running.compute(predict_one, running.bundle, running.prediction_log, content, top_k)
        return JSONResponse(answer)

    @app.post("/predict_batch", responses={200: {"model": batch_response()}})
    async def predict_batch(
        samples: Iterable[Member] = Depends(body.read_many(settings)),
        top_k: TopK = None,
    ) -> JSONResponse:
        """The same for many samples, or for those of a zip."""
        running = service()
        answer = await running.compute(predict_many, running.bundle, running.prediction_log, samples, top_k)
        return JSONResponse(answer)

    @app.post("/feedback")
    async def feedback(sent: Feedback) -> Feedback:
        """The right label of an earlier prediction."""
        running = service()
        await record_feedback(running.prediction_log, running.bundle.model.classes, sent)
        return sent

    @app.get("/model")
    async def model() -> ModelResponse:
        """model.json of the model that predicts now."""
        return ModelResponse(**service().bundle.description)

    return app


def _add_error_handlers(app: FastAPI, remedies: Mapping[str, str]) -> None:
    """Answer every error in the shape of :class:`ErrorResponse`; ``remedies`` are of requests, by path."""

    def refuse(status: int) -> Callable[[Request, Any], JSONResponse]:
        return lambda _, error: error_response(status, error.what, error.remedy)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        found = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors()[:3]
        )
        return error_response(400, found, remedies.get(request.url.path))

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> JSONResponse:
        remedy = {400: remedies.get(request.url.path), 413: TOO_LARGE}.get(error.status_code)
        return error_response(error.status_code, error.detail, remedy, error.headers)

    @app.exception_handler(Exception)
    def unexpected(_: Request, error: Exception) -> JSONResponse:
        return error_response(500, "the service failed on this request", "its log says more of it")

    app.add_exception_handler(DataError, refuse(400))
    app.add_exception_handler(UnknownPredictionError, refuse(404))
    app.add_exception_handler(GraftError, refuse(503))


class ModalityRoutes:
    """The application for the loaded model's modality, made when a request first needs it."""

    def __init__(self, service: Callable[[], Service], settings: ServiceSettings) -> None:
        self._make = partial(create_app, service, settings)
        self._service = service
        self._apps: dict[str, FastAPI] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        modality = modality_of(self._service().bundle.model.artifact.preprocessing)
        if modality.name not in self._apps:
            self._apps[modality.name] = self._make(modality)
        await self._apps[modality.name](scope, receive, send)
