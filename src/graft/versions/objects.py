"""Objects by their MD5, in DVC's cache or in a remote: never trusted for being there, always read and hashed.

DVC takes an object of its cache that may not be written to for whole, and one that a remote lists for sent; a bad disk
or an upload that broke off can make both wrong, in silence. Here every object is read back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

from graft.errors import GraftError, VersionError
from graft.progress import track

State = Literal["whole", "missing", "damaged"]

_CHUNK = 1 << 20
_READERS = 8
DIRECTORY = ".dir"  # ends the name of an object that lists a folder's files


@dataclass(frozen=True)
class Wanted:
    """An object, and the file or folder of the project that it holds.

    Attributes:
        oid: its MD5, with ``.dir`` for a list of a folder's files.
        path: whose bytes it is, relative to the project's folder, for messages.
    """

    oid: str
    path: str


@dataclass(frozen=True)
class Objects:
    """A place that keeps objects: DVC's database of them, and what people call it.

    Attributes:
        database: an object database of DVC (``dvc_data.hashfile.db.HashFileDB``).
        name: such as ``the cache``, for messages.
        trouble: what went wrong there -> what the user reads.
    """

    database: Any
    name: str
    trouble: Callable[[Exception], GraftError]

    def place(self, oid: str) -> str:
        """Path or address of an object."""
        return str(self.database.fs.unstrip_protocol(self.database.oid_to_path(oid))).removeprefix("file://")

    def state(self, oid: str) -> State:
        """Read the object and compare its hash with its name.

        Raises:
            GraftError: the place cannot be read.
        """
        digest = hashlib.md5(usedforsecurity=False)
        try:
            with self.database.fs.open(self.database.oid_to_path(oid), "rb") as stream:
                while chunk := stream.read(_CHUNK):
                    digest.update(chunk)
        except FileNotFoundError:
            return "missing"
        except Exception as error:
            raise self.trouble(error) from error
        return "whole" if digest.hexdigest() == oid.removesuffix(DIRECTORY) else "damaged"

    def states(self, oids: Iterable[str], doing: str) -> Iterator[tuple[str, State]]:
        """The state of many objects, several read at a time, in the order given."""
        names = list(oids)
        with ThreadPoolExecutor(_READERS) as readers:
            found = zip(names, readers.map(self.state, names), strict=True)
            yield from track(found, doing, total=len(names), unit="files")

    def take(self, source: Objects, oids: Iterable[str]) -> None:
        """Copy objects from another place, over what may be there by their names; each appears whole or not at all.

        Lists of folders come last: who sees one finds all its files.

        Raises:
            GraftError: this place cannot be written, or the other not be read.
        """
        names = sorted(oids, key=lambda oid: oid.endswith(DIRECTORY))
        for last in (False, True):
            batch = [oid for oid in names if oid.endswith(DIRECTORY) is last]
            if not batch:
                continue
            paths = [source.database.oid_to_path(oid) for oid in batch]
            try:
                self.database.add(paths, source.database.fs, batch, check_exists=False, verify=False)
            except Exception as error:
                raise self.trouble(error) from error

    def listed(self, oid: str) -> tuple[tuple[str, str], ...]:
        """Of a folder's list: each file's path in it and MD5.

        Raises:
            VersionError: the list is missing or damaged.
        """
        found = self.state(oid)
        if found != "whole":
            raise VersionError(f"the list of a folder's files is {found} in {self.name}", where=self.place(oid))
        with self.database.fs.open(self.database.oid_to_path(oid), "rb") as stream:
            return tuple((item["relpath"], item["md5"]) for item in json.loads(stream.read()))
