"""From a request to the bytes of one image: read by us, because BentoML's own reading does what it must not.

BentoML fetches whatever address stands in a text field of the name ``image``, writes uploads to the disk under
names that the sender chose, and turns a malformed body into a 500. Here nothing is fetched or written, and
whatever is wrong with the request becomes a :class:`DataError` that the service answers with 400.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from _bentoml_sdk import IODescriptor
from bentoml.validators import ContentType
from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from graft.errors import DataError

FIELD = "image"
_REMEDY = f"send the image as the file of a multipart form, as in: curl -F {FIELD}=@photo.jpg"
# A form has one image; a few more parts are refused by name, a flood of them while it is read.
_MOST_PARTS = 8


class Upload(IODescriptor):  # type: ignore[misc]  # BentoML's class has no types
    """The body of ``POST /predict``; its fields are what OpenAPI and BentoML's clients are told."""

    image: Annotated[Path, ContentType("image/*")]

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Upload:
        """Called by BentoML instead of its own reading; ``image`` becomes bytes, or the error to answer with."""
        try:
            image: bytes | DataError = await read_image(request)
        except DataError as error:
            image = error
        upload: Upload = cls.model_construct(image=image)
        return upload


async def read_image(request: Request) -> bytes:
    """The bytes of the form's only file.

    Raises:
        DataError: the body is not such a form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise DataError(f"the request is {kind or 'of no type'}, not multipart/form-data", remedy=_REMEDY)
    try:
        async with request.form(max_files=_MOST_PARTS, max_fields=_MOST_PARTS) as form:
            parts = form.getlist(FIELD)
            others = sorted({name for name, _ in form.multi_items()} - {FIELD})
            if not parts:
                named = f"; it has {', '.join(repr(name[:40]) for name in others)}" if others else ""
                raise DataError(f"the form has no field {FIELD!r}{named}", remedy=_REMEDY)
            if len(parts) > 1:
                raise DataError(f"the form has {len(parts)} fields {FIELD!r}", remedy="send one image per request")
            part = parts[0]
            if not isinstance(part, UploadFile):
                raise DataError(f"the field {FIELD!r} is text, not a file", remedy=_REMEDY)
            data = await part.read()
    except ClientDisconnect:
        raise DataError("the sender went away before the end") from None  # nobody reads this but the access log
    except HTTPException as error:
        raise DataError(f"the form cannot be read: {error.detail}", remedy=_REMEDY) from None
    if not data:
        raise DataError("the file is empty", remedy="send an image file that has content")
    return data


class Identity(BaseModel):
    """The model that gave an answer."""

    name: str
    version: str
    arch: str
    trained_from: str
    sha256: str


class Answer(BaseModel):
    """The answer to ``POST /predict``.

    Attributes:
        label: the most probable class.
        probabilities: calibrated, of every class, most probable first.
        unsure: the label's probability is under the model's threshold: better not to act on it.
        novelty: how unlike the training images this one is, over 1 unlike; null where the model cannot tell.
        model: which model it was.
    """

    label: str
    probabilities: dict[str, float]
    unsure: bool
    novelty: float | None
    model: Identity
