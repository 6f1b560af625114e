"""Downloading one file whole: written beside, hashed on the way, and put in its place only if it is the right one.

A download that breaks off leaves nothing, and nothing that an earlier one left is ever gone on with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlparse
from urllib.request import HTTPRedirectHandler, Request, build_opener, urlopen

from graft.errors import WeightsError
from graft.files import whole_file
from graft.progress import track

_CHUNK = 1 << 20
_TIMEOUT_S = 60.0
_HEADERS = {"User-Agent": "graft"}


@dataclass(frozen=True)
class Remote:
    """A file to be had from a URL.

    Attributes:
        url: where it is.
        sha256: hexadecimal digits that its SHA-256 begins with, as its publisher states them.
    """

    url: str
    sha256: str


class _Staying(HTTPRedirectHandler):
    """Follows redirections on the same host only: elsewhere, the publisher's own headers are no longer there."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> Request | None:
        if urlparse(newurl).netloc != urlparse(req.full_url).netloc:
            return None
        return Request(newurl, headers=req.headers, method="HEAD")


def headers_of(url: str) -> Message:
    """What the publisher's own host says of a file, without fetching it.

    Raises:
        WeightsError: it does not have the file, or cannot be asked.
    """
    with _explained(url):
        try:
            with build_opener(_Staying).open(
                Request(url, headers=_HEADERS, method="HEAD"), timeout=_TIMEOUT_S
            ) as answer:
                headers: Message = answer.headers
                return headers
        except HTTPError as error:
            if error.code in range(300, 400):
                return error.headers
            raise


@contextmanager
def _explained(url: str) -> Iterator[None]:
    try:
        yield
    except HTTPError as error:
        raise WeightsError(f"the server answers {error.code} ({error.reason})", where=url) from None
    except (URLError, HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise WeightsError(
            f"the download broke off ({reason}); nothing of it was kept",
            where=url,
            remedy="run again when the network is there",
        ) from None


def download(remote: Remote, target: Path) -> None:
    """Fetch ``remote`` and put it at ``target``, whole or not at all.

    Raises:
        WeightsError: it cannot be had, the connection broke off, or it is not the file that was published.
    """
    with _explained(remote.url), whole_file(target) as beside:
        found = _receive(remote, beside)
        if not found.startswith(remote.sha256):
            raise WeightsError(
                f"the download is not the file that was published: its sha256 begins with "
                f"{found[: len(remote.sha256)]}, not {remote.sha256}",
                where=remote.url,
                remedy="fetch it again; if it stays so, the server or what lies between gives another file",
            )


def _receive(remote: Remote, path: Path) -> str:
    """Write what the server sends to ``path``; return its SHA-256 as hexadecimal digits."""
    digest = hashlib.sha256()
    received = 0
    with urlopen(Request(remote.url, headers=_HEADERS), timeout=_TIMEOUT_S) as answer:
        stated = answer.headers.get("Content-Length")
        total = None if stated is None else -(-int(stated) // _CHUNK)
        with path.open("wb") as file:
            for chunk in track(_chunks(answer), f"downloading {Path(remote.url).name} (MiB)", total=total):
                file.write(chunk)
                digest.update(chunk)
                received += len(chunk)
    if stated is not None and received != int(stated):
        raise ConnectionError(f"{received} of {stated} bytes")
    return digest.hexdigest()


def _chunks(answer: IO[bytes]) -> Iterator[bytes]:
    while chunk := answer.read(_CHUNK):
        yield chunk
