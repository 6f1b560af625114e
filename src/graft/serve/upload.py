"""The bodies of requests, as BentoML is to read them: by our own reading of forms (see forms.py), never by its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from _bentoml_sdk import IODescriptor
from bentoml.validators import ContentType
from pydantic import Field
from starlette.requests import ClientDisconnect, Request

from graft.errors import DataError
from graft.serve import environment
from graft.serve.archive import Member, members
from graft.serve.forms import Part, file_of, one_file, read_form

FIELD, ARCHIVE, TOP_K = "image", "archive", "top_k"
_ONE = f"send the image as the file of a multipart form, as in: curl -F {FIELD}=@photo.jpg"
_MANY = f"send files of a multipart form, as in: curl -F {FIELD}=@1.jpg -F {FIELD}=@2.jpg, or curl -F {ARCHIVE}=@a.zip"
# A form has one image; a few more parts are refused by name, a flood of them while it is read.
_MOST_PARTS = 8
# What a zip may unpack to, over what may be sent.
_UNPACKED = 4

TopK = Annotated[int | None, Field(ge=1, description="how many classes the answer names; all where it is not given")]


class Upload(IODescriptor):  # type: ignore[misc]  # BentoML's class has no types
    """The body of ``POST /predict``; its fields are what BentoML's clients are told."""

    image: Annotated[Path, ContentType("image/*")]
    top_k: TopK = None

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Upload:
        """Called by BentoML instead of its own reading; ``image`` becomes bytes, or the error to answer with."""
        image: bytes | DataError
        top_k = None
        try:
            parts = read_form(request.headers.get("content-type", ""), await body_of(request), _MOST_PARTS, _ONE)
            image, top_k = one_file(parts, FIELD, _ONE), top_k_of(request, parts)
        except DataError as error:
            image = error
        upload: Upload = cls.model_construct(image=image, top_k=top_k)
        return upload


@dataclass(frozen=True)
class Files:
    """The files of a request for many, read when they are asked for, which is not in the loop that serves all.

    Attributes:
        kind: the request's content type.
        body: all of it.
        request: what the query is read from.
    """

    kind: str
    body: bytes
    request: Request

    def each(self) -> tuple[Iterator[Member], int | None]:
        """The files one after another, and how many classes an answer names.

        Raises:
            DataError: the body is no form of images or of one zip; the zip's own errors come while it is read.
        """
        most = int(environment.number("GRAFT_MAX_BATCH"))
        parts = read_form(self.kind, self.body, most + _MOST_PARTS, _MANY)
        files = [part for part in parts if part.name in {FIELD, ARCHIVE}]
        archives = [part for part in files if part.name == ARCHIVE]
        if not files:
            one_file(parts, FIELD, _MANY)  # which says what there is instead
        if archives and len(files) > 1:
            raise DataError("the form has a zip and more", remedy=_MANY)
        if len(files) > most:
            raise DataError(f"the form has {len(files)} images, and the most is {most}", remedy="send fewer at once")
        top_k = top_k_of(self.request, parts)
        each_most = environment.mebibytes("GRAFT_MAX_BODY")
        if archives:
            unpacked = _UNPACKED * environment.mebibytes("GRAFT_MAX_BATCH_BODY")
            return members(file_of(archives[0], _MANY), most, unpacked, each_most), top_k
        return (_member(part, each_most) for part in files), top_k


class BatchUpload(IODescriptor):  # type: ignore[misc]  # as above
    """The body of ``POST /predict_batch``."""

    image: list[Annotated[Path, ContentType("image/*")]] = []  # noqa: RUF012 - pydantic copies it
    archive: Annotated[Path | None, ContentType("application/zip")] = None
    top_k: TopK = None

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> BatchUpload:
        """Called by BentoML; ``image`` becomes :class:`Files`, or the error to answer with."""
        try:
            files: Files | DataError = Files(request.headers.get("content-type", ""), await body_of(request), request)
        except DataError as error:
            files = error
        upload: BatchUpload = cls.model_construct(image=files, archive=None, top_k=None)
        return upload


async def body_of(request: Request) -> bytes:
    """All of a request's body. Raises DataError where the sender went away."""
    try:
        return await request.body()
    except ClientDisconnect:
        raise DataError("the sender went away before the end") from None  # nobody reads this but the access log


def top_k_of(request: Request, parts: list[Part]) -> int | None:
    """How many classes the answer is to name, by the query or a field of the form; None for all.

    Raises:
        DataError: it is no whole number from 1 on.
    """
    fields = [part.data.decode("utf-8", "replace") for part in parts if part.name == TOP_K and part.file is None]
    given = request.query_params.get(TOP_K, fields[0] if fields else "").strip()
    if given in {"", "null"}:  # null: what BentoML's clients send for none
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 10 and int(given) > 0):
        raise DataError(f"{TOP_K} is no whole number from 1 on", remedy=f"ask as in /predict?{TOP_K}=3")
    return int(given)


def _member(part: Part, each_most: int) -> Member:
    try:
        data: bytes | DataError = file_of(part, _MANY)
    except DataError as error:
        data = error
    if not isinstance(data, DataError) and len(data) > each_most:
        data = DataError("this file is too large", remedy="make it smaller")
    return Member(part.file or "", data)
