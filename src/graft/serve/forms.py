"""From the body of a request to the files of its form: read by us, because BentoML's own reading does what it must not.

BentoML fetches whatever address stands in a text field of an image's name, writes uploads to the disk under names that
the sender chose, and turns a malformed body into a 500. Here nothing is fetched or written, and whatever is wrong with
the request becomes a :class:`DataError` that the service answers with 400.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from graft.errors import DataError

_LONGEST_NAME = 200  # of a file, as it is said back


@dataclass(frozen=True)
class Part:
    """One field of a form.

    Attributes:
        name: of the field.
        file: the name of the file as the sender gave it; None where the field is text.
        data: what is in it.
    """

    name: str
    file: str | None
    data: bytes


def read_form(kind: str, body: bytes, most: int, remedy: str) -> list[Part]:
    """The fields of a multipart form, in their order.

    Args:
        kind: the request's content type.
        body: all of it.
        most: fields that the form may have; more are refused while they are read.
        remedy: how a proper form is sent.

    Raises:
        DataError: the body is no such form.
    """
    found, options = parse_options_header(kind)
    if found.strip() != b"multipart/form-data":
        shown_kind = shown(found.decode("latin-1").strip())[:60] or "of no type"
        raise DataError(f"the request is {shown_kind}, not multipart/form-data", remedy=remedy)
    boundary = options.get(b"boundary")
    if not boundary:
        raise DataError("the form cannot be read: its content type names no boundary", remedy=remedy)
    reader = _Reader(most)
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise DataError("the form cannot be read: it is malformed", remedy=remedy) from None
    except _Malformed as error:
        raise DataError(f"the form cannot be read: {error}", remedy=remedy) from None
    if not reader.is_whole:
        raise DataError("the form cannot be read: its end is missing", remedy=remedy)
    return reader.parts


class _Malformed(Exception):  # noqa: N818 - it says why, and becomes a DataError
    """A form that the parser takes and that is none all the same."""


class _Reader:
    """What the parser calls back, which makes parts of a form's pieces."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.parts: list[Part] = []
        self.is_whole = False
        self._begin()

    def callbacks(self) -> Any:
        """By their names in the parser."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_part_data": lambda data, start, end: self._data.append(data[start:end]),
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._field, self._value = bytearray(), bytearray()
        self._disposition = b""
        self._data: list[bytes] = []

    def _end_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._field, self._value = bytearray(), bytearray()

    def _end(self) -> None:
        if len(self.parts) == self.most:
            raise _Malformed(f"it has more than {self.most} fields")
        _, options = parse_options_header(self._disposition)
        if b"name" not in options:
            raise _Malformed("one of its fields has no name")
        file = options.get(b"filename")
        name = options[b"name"].decode("utf-8", "replace")
        self.parts.append(Part(name, None if file is None else file.decode("utf-8", "replace"), b"".join(self._data)))

    def _finish(self) -> None:
        self.is_whole = True


def one_file(parts: Sequence[Part], field: str, remedy: str) -> bytes:
    """The bytes of the form's only file, which is the field ``field``.

    Raises:
        DataError: there is none, more than one, or it is text.
    """
    found = [part for part in parts if part.name == field]
    if not found:
        others = sorted({part.name for part in parts})
        named = f"; it has {', '.join(repr(name[:40]) for name in others)}" if others else ""
        raise DataError(f"the form has no field {field!r}{named}", remedy=remedy)
    if len(found) > 1:
        raise DataError(f"the form has {len(found)} fields {field!r}", remedy="send one image per request")
    return file_of(found[0], remedy)


def file_of(part: Part, remedy: str) -> bytes:
    """The bytes of a field that must be a file. Raises DataError where it is text: no address in it is ever fetched."""
    if part.file is None:
        raise DataError(f"the field {part.name!r} is text, not a file", remedy=remedy)
    if not part.data:
        raise DataError("the file is empty", remedy="send an image file that has content")
    return part.data


def shown(name: str) -> str:
    """A file's name as it may be said back anywhere: one line, printable, not endless."""
    line = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    return line if len(line) <= _LONGEST_NAME else line[: _LONGEST_NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"
