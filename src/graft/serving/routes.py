"""HTTP routes, as a FastAPI application that the BentoML service mounts.

Not ``@bentoml.api``: BentoML's own reading of forms downloads from addresses in text fields and turns malformed bodies
into 500. To add a route, add a function to :func:`create_app`, and its body's limit to :func:`body_limits`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, Protocol, TypeVar

from fastapi import Depends, FastAPI, File, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from graft import __version__
from graft.core.errors import DataError, GraftError
from graft.serving.archive import Member, members
from graft.serving.error_response import error_response
from graft.serving.inference import predict_many, predict_one
from graft.serving.middleware.body_limit import TOO_LARGE
from graft.serving.model.bundle import ModelBundle
from graft.serving.page import PAGE_ROUTES
from graft.serving.prediction_log.feedback import UnknownPredictionError, record_feedback
from graft.serving.prediction_log.writer import PredictionLogWriter
from graft.serving.schemas import BatchResponse, ErrorResponse, Feedback, ModelResponse, PredictResponse
from graft.serving.settings import ServiceSettings

MOST_IMAGES = 256  # in one request
_UNPACKED = 4  # what a zip may unpack to, in units of the request's limit
_FEEDBACK_BYTES = 4 << 10  # an id and a class name
_ONE = "send the image as the file of a multipart form, as in: curl -F image=@photo.jpg"
_MANY = "send files of a multipart form, as in: curl -F image=@1.jpg -F image=@2.jpg, or curl -F archive=@a.zip"
_JSON = """send JSON, as in: curl --json '{"id": "...", "label": "..."}'"""
_REMEDIES = {"/predict": _ONE, "/predict_batch": _MANY, "/feedback": _JSON}
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


def create_app(service: Callable[[], Service], settings: ServiceSettings) -> FastAPI:
    """The application; ``service`` returns the running service."""
    app = FastAPI(
        title="graft",
        version=__version__,
        description="The classifier that graft made: what is in an image, and how sure it is.",
        openapi_url="/docs.json",
        docs_url=None,
        redoc_url=None,
        routes=list(PAGE_ROUTES),
        responses=_ERRORS,
        dependencies=[Depends(HTTPBearer(auto_error=False))],  # for the document; AuthMiddleware checks the key
        generate_unique_id_function=lambda route: route.name,
    )
    _add_error_handlers(app)

    @app.post("/predict")
    async def predict(image: Annotated[UploadFile, File()], request: Request, top_k: TopK = None) -> PredictResponse:
        """Label and probabilities of one image."""
        sent = (await request.form()).getlist("image")
        if len(sent) > 1:
            raise DataError(f"the form has {len(sent)} fields 'image'", remedy="send one image per request")
        content = await image.read()
        if not content:
            raise DataError("the file is empty", remedy="send an image file that has content")
        running = service()
        return await running.compute(predict_one, running.bundle, running.prediction_log, content, top_k)

    @app.post("/predict_batch")
    async def predict_batch(
        image: Annotated[list[UploadFile] | None, File()] = None,
        archive: Annotated[UploadFile | None, File()] = None,
        top_k: TopK = None,
    ) -> BatchResponse:
        """The same for many images, or for those of a zip."""
        files = await _files(image or [], archive, settings)
        running = service()
        return await running.compute(predict_many, running.bundle, running.prediction_log, files, top_k)

    @app.post("/feedback")
    async def feedback(body: Feedback) -> Feedback:
        """The right label of an earlier prediction."""
        running = service()
        await record_feedback(running.prediction_log, running.bundle.model.classes, body)
        return body

    @app.get("/model")
    async def model() -> ModelResponse:
        """model.json of the model that predicts now."""
        return ModelResponse(**service().bundle.description)

    return app


def _add_error_handlers(app: FastAPI) -> None:
    """Answer every error in the shape of :class:`ErrorResponse`."""

    def refuse(status: int) -> Callable[[Request, Any], JSONResponse]:
        return lambda _, error: error_response(status, error.what, error.remedy)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        found = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors()[:3]
        )
        return error_response(400, found, _REMEDIES.get(request.url.path))

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> JSONResponse:
        remedy = {400: _REMEDIES.get(request.url.path), 413: TOO_LARGE}.get(error.status_code)
        return error_response(error.status_code, error.detail, remedy, error.headers)

    @app.exception_handler(Exception)
    def unexpected(_: Request, error: Exception) -> JSONResponse:
        return error_response(500, "the service failed on this request", "its log says more of it")

    app.add_exception_handler(DataError, refuse(400))
    app.add_exception_handler(UnknownPredictionError, refuse(404))
    app.add_exception_handler(GraftError, refuse(503))


async def _files(images: list[UploadFile], archive: UploadFile | None, settings: ServiceSettings) -> Iterable[Member]:
    """The files of a request for many.

    Raises:
        DataError: there is none, too many of them, or images beside an archive. An archive's own errors come while it
            is read.
    """
    if archive is not None and images:
        raise DataError("the form has a zip and more", remedy=_MANY)
    if archive is not None:
        return members(await archive.read(), MOST_IMAGES, _UNPACKED * settings.max_batch_body, settings.max_body)
    if not images:
        raise DataError("the form has no file `image` and no file `archive`", remedy=_MANY)
    if len(images) > MOST_IMAGES:
        error = f"the form has {len(images)} images, and the most is {MOST_IMAGES}"
        raise DataError(error, remedy="send fewer at once")
    contents = [(file.filename or "", await file.read()) for file in images]
    return _members(contents, settings.max_body)


def _members(files: Iterable[tuple[str, bytes]], most_bytes: int) -> Iterator[Member]:
    for name, content in files:
        if not content:
            yield Member(name, DataError("the file is empty", remedy="send an image file that has content"))
        elif len(content) > most_bytes:
            yield Member(name, DataError("this file is too large", remedy="make it smaller"))
        else:
            yield Member(name, content)
