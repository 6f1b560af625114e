"""Objects in DVC's cache or at its remote, which are read and hashed instead of being taken for whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from dvc.repo import Repo

_CHUNK = 1 << 20


@dataclass(frozen=True)
class StoredObject:
    """An object.

    Attributes:
        path: the file that it holds, or where it lies.
        md5: what it must hash to.
        open: opens it.
    """

    path: str
    md5: str
    open: Callable[[], IO[bytes]]

    def problem(self) -> str | None:
        """``missing`` or ``damaged``; None where it is whole."""
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with self.open() as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
        except FileNotFoundError:
            return "missing"
        return None if digest.hexdigest() == self.md5 else "damaged"


def cached_objects(cache: Path) -> Iterator[StoredObject]:
    """All objects of a cache. Two digits of the MD5 are a folder; the list of a folder's files ends in ``.dir``."""
    for path in sorted((cache / "files" / "md5").glob("??/*")):
        md5 = f"{path.parent.name}{path.name}".removesuffix(".dir")
        yield StoredObject(str(path), md5, partial(_open, path))


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")


def tracked_files(repo: Repo, folder: str = "") -> Iterator[StoredObject]:
    """What the project's DVC files name below ``folder``, read from the cache or else from the remote.

    Raises:
        FileNotFoundError: the list of a folder's files is in neither.
    """
    from dvc_data.index import DataIndexDirError

    files = repo.datafs
    try:
        for path in files.find(folder):
            md5 = files.info(path).get("md5")
            if md5 is not None:  # an output of a stage that never ran has none
                yield StoredObject(path.lstrip("/"), md5, partial(files.open, path, "rb"))
    except DataIndexDirError as error:
        raise FileNotFoundError(str(error)) from error
