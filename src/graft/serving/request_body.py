"""How a request carries samples: files of a multipart form, or text in a JSON object, as the modality says.

To add a way, write a class with the members of :class:`RequestBody`, and add a row to ``BODIES``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import Body, File, Request, UploadFile

from graft.core.errors import DataError
from graft.modalities.base import FileField, JsonField, Modality, with_article
from graft.serving.archive import Member, members
from graft.serving.settings import ServiceSettings

MOST_SAMPLES = 256  # in one request
_UNPACKED = 4  # what a zip may unpack to, in units of the request's limit
_EMPTY = "the file is empty"


class RequestBody(Protocol):
    """Reads the bodies of one modality's requests, as dependencies of FastAPI's routes."""

    @property
    def one_remedy(self) -> str:
        """How to send one sample."""

    @property
    def many_remedy(self) -> str:
        """How to send many."""

    def read_one(self) -> Callable[..., Any]:
        """A dependency that gives the sample's bytes. It raises DataError."""

    def read_many(self, settings: ServiceSettings) -> Callable[..., Any]:
        """A dependency that gives the samples. It raises DataError; errors of a zip come while it is read."""


@dataclass(frozen=True)
class FormFiles:
    """Files of a multipart form, or a zip of them."""

    field: FileField
    noun: str

    @property
    def one_remedy(self) -> str:
        """With curl."""
        name, example = self.field.name, self.field.example
        return f"send the {self.noun} as the file of a multipart form, as in: curl -F {name}=@{example}"

    @property
    def many_remedy(self) -> str:
        """With curl."""
        name, kind = self.field.name, self.field.example.rpartition(".")[2]
        return (
            f"send files of a multipart form, as in: curl -F {name}=@1.{kind} -F {name}=@2.{kind}, "
            "or curl -F archive=@a.zip"
        )

    def read_one(self) -> Callable[..., Any]:
        """The form's only file of that name."""
        name, noun = self.field.name, self.noun

        async def read(request: Request, sent: UploadFile = File(alias=name)) -> bytes:  # noqa: B008 - FastAPI's way
            files = (await request.form()).getlist(name)
            if len(files) > 1:
                raise DataError(f"the form has {len(files)} fields {name!r}", remedy=f"send one {noun} per request")
            content = await sent.read()
            if not content:
                raise DataError(_EMPTY, remedy=self._with_content)
            return content

        return read

    def read_many(self, settings: ServiceSettings) -> Callable[..., Any]:
        """All files of that name, or those of the zip ``archive``."""
        name, noun = self.field.name, self.noun

        async def read(
            sent: list[UploadFile] | None = File(None, alias=name),  # noqa: B008
            archive: UploadFile | None = File(None),  # noqa: B008
        ) -> Iterable[Member]:
            if archive is not None and sent:
                raise DataError("the form has a zip and more", remedy=self.many_remedy)
            if archive is not None:
                most_bytes = _UNPACKED * settings.max_batch_body
                return members(await archive.read(), MOST_SAMPLES, most_bytes, settings.max_body)
            if not sent:
                raise DataError(f"the form has no file `{name}` and no file `archive`", remedy=self.many_remedy)
            _refuse_too_many(len(sent), f"the form has {{}} {noun}s")
            contents = [(file.filename or "", await file.read()) for file in sent]
            return self._members(contents, settings.max_body)

        return read

    @property
    def _with_content(self) -> str:
        return f"send {with_article(self.noun)} file that has content"

    def _members(self, files: Iterable[tuple[str, bytes]], most_bytes: int) -> Iterator[Member]:
        for name, content in files:
            if not content:
                yield Member(name, DataError(_EMPTY, remedy=self._with_content))
            elif len(content) > most_bytes:
                yield Member(name, DataError("this file is too large", remedy="make it smaller"))
            else:
                yield Member(name, content)


@dataclass(frozen=True)
class JsonTexts:
    """A text, or a list of texts, in a JSON object."""

    field: JsonField
    noun: str

    @property
    def one_remedy(self) -> str:
        """With curl."""
        return f"""send JSON, as in: curl --json '{{"{self.field.name}": "{self.field.example}"}}'"""

    @property
    def many_remedy(self) -> str:
        """With curl."""
        return f"""send JSON, as in: curl --json '{{"{self.field.name}": ["{self.field.example}", "..."]}}'"""

    def read_one(self) -> Callable[..., Any]:
        """The text in UTF-8."""

        async def read(text: str = Body(alias=self.field.name, embed=True)) -> bytes:
            return text.encode("utf-8", "surrogatepass")

        return read

    def read_many(self, settings: ServiceSettings) -> Callable[..., Any]:
        """The texts, named by their places."""

        async def read(texts: list[str] = Body(alias=self.field.name, embed=True)) -> Iterable[Member]:  # noqa: B008
            _refuse_too_many(len(texts), "the list has {} texts")
            return [Member(str(place), text.encode("utf-8", "surrogatepass")) for place, text in enumerate(texts)]

        return read


def _refuse_too_many(count: int, said: str) -> None:
    if count > MOST_SAMPLES:
        raise DataError(f"{said.format(count)}, and the most is {MOST_SAMPLES}", remedy="send fewer at once")


BODIES: dict[type, Callable[[Any, str], RequestBody]] = {FileField: FormFiles, JsonField: JsonTexts}


def body_of(modality: Modality) -> RequestBody:
    """Reads the requests of a modality."""
    return BODIES[type(modality.request)](modality.request, modality.name)
