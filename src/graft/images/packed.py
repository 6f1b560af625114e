"""Images inside tar files, read where they lie: data/raw as loose files or packed, behind one way to ask for an image.

``open_raw(folder) / "cat/1.jpg"`` is a path where the images are loose, and a :class:`PackedFile` where
:mod:`graft.images.packing` packed them; whatever opens an image takes either. A packed image is one read at its place:
nothing is unpacked, and no file is held open, so threads and processes share nothing.
"""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from graft.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

INDEX_FILE = "index.parquet"
SUFFIX = ".tar"
COLUMNS = ("path", "shard", "offset", "bytes")
_AGAIN = "run `.venv/bin/dvc checkout --force data/raw`, or ingest: `.venv/bin/dvc repro --force --single-item ingest`"
_LONGEST_PLAIN = 100  # bytes of a name that a tar file's header has room for


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A file inside an uncompressed tar file.

    Attributes:
        shard: the tar file.
        member: its path in there, with ``/``.
        offset: where its bytes begin, right behind its header, in bytes.
        size: in bytes.
    """

    shard: Path
    member: str
    offset: int
    size: int

    @property
    def name(self) -> str:
        """The last part of its path, as of a :class:`pathlib.Path`."""
        return self.member.rpartition("/")[2]

    def __str__(self) -> str:
        """The image first, then the file to look in."""
        return f"{self.shard.parent / self.member} (in {self.shard.name})"

    def read_bytes(self) -> bytes:
        """Its bytes, if the tar file still has it where it was.

        Raises:
            DataError: the tar file is gone, was cut off, or holds something else at this place.
        """
        try:
            with self.shard.open("rb", buffering=0) as file:
                file.seek(self.offset - tarfile.BLOCKSIZE)
                read = _exactly(file, tarfile.BLOCKSIZE + self.size)
        except OSError as error:
            raise self._refused(f"the tar file cannot be read: {error.strerror or error}") from None
        if len(read) < tarfile.BLOCKSIZE + self.size:
            raise self._refused("the tar file was cut off: the image is not all there")
        if not self._is_headed_by(read[: tarfile.BLOCKSIZE]):
            raise self._refused("the tar file does not hold the image where its index says")
        return read[tarfile.BLOCKSIZE :]

    def _is_headed_by(self, block: bytes) -> bool:
        """Is this the header of a file of this name and size? Long names and those beyond ASCII stand elsewhere."""
        try:
            found = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            return False
        plain = self.member.isascii() and len(self.member) <= _LONGEST_PLAIN
        return found.isreg() and found.size == self.size and (found.name == self.member or not plain)

    def _refused(self, what: str) -> DataError:
        return DataError(
            what, where=self, remedy=f"run again when nothing writes there; if it is in data/raw, {_AGAIN}"
        )


StoredImage = Path | PackedFile


@dataclass(frozen=True)
class PackedFolder:
    """A folder of tar files and the index that says which image lies where; ``folder / path`` is an image of it.

    The index is read once, when the first image is asked for, and is left behind where this is sent to another process.
    """

    folder: Path

    def __truediv__(self, path: str) -> PackedFile:
        """The image of this path.

        Raises:
            DataError: the index does not list it, or the index cannot be used.
        """
        place = self._places.get(path)
        if place is None:
            raise DataError(
                f"the index of the packed images does not list {path}", where=self.folder / INDEX_FILE, remedy=_AGAIN
            )
        shard, offset, size = place
        return PackedFile(self.folder / shard, path, offset, size)

    def __getstate__(self) -> dict[str, Path]:
        """Only where it lies."""
        return {"folder": self.folder}

    def paths(self) -> list[str]:
        """The path of every image, sorted."""
        return list(self._places)

    @cached_property
    def _places(self) -> dict[str, tuple[str, int, int]]:
        """Tar file, offset and size of every image, by its path."""
        paths, *places = (column.to_pylist() for column in self._read().columns)
        return dict(zip(paths, zip(*places, strict=True), strict=True))

    def _read(self) -> pa.Table:
        import pyarrow.parquet as pq

        where = self.folder / INDEX_FILE
        try:
            index = pq.read_table(where, columns=list(COLUMNS)).select(list(COLUMNS))
        except (OSError, ValueError, KeyError) as error:  # pyarrow's own errors are ValueErrors and KeyErrors
            reason = str(error).partition("\n")[0]
            raise DataError(
                f"the index of the packed images cannot be read: {reason}", where=where, remedy=_AGAIN
            ) from None
        if wrong := _what_is_wrong(index, self.folder):
            raise DataError(f"the index of the packed images {wrong}", where=where, remedy=_AGAIN)
        return index


RawFolder = Path | PackedFolder


def open_raw(folder: Path) -> RawFolder:
    """data/raw, so that ``open_raw(folder) / path`` is an image whether they are loose or packed.

    Raises:
        DataError: they are packed, and index and tar files do not fit each other.
    """
    if (folder / INDEX_FILE).is_file():
        packed = PackedFolder(folder)
        packed.paths()
        return packed
    stray = min((file for file in folder.glob(f"*{SUFFIX}") if file.is_file()), default=None)
    if stray is not None:
        raise DataError(
            f"images are packed here ({stray.name}), but their index is missing",
            where=folder / INDEX_FILE,
            remedy=_AGAIN,
        )
    return folder


def open_stored(file: StoredImage) -> BinaryIO:
    """Open a file, or what a tar file holds of it, for reading.

    Raises:
        DataError: the tar file no longer holds it.
        OSError: a loose file cannot be opened.
    """
    return io.BytesIO(file.read_bytes()) if isinstance(file, PackedFile) else file.open("rb")


def size_of(file: StoredImage) -> int:
    """Bytes of an image file. Raises OSError where a loose one cannot be asked."""
    return file.size if isinstance(file, PackedFile) else file.stat().st_size


def _exactly(file: io.RawIOBase | io.FileIO, count: int) -> bytes:
    """``count`` bytes, or what there is: one read may give less."""
    parts, left = [], count
    while left > 0 and (part := file.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _what_is_wrong(index: pa.Table, folder: Path) -> str | None:
    """Why an index does not fit the tar files beside it, or None where it does. No name in it is ever a path."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kinds = dict(
        zip(COLUMNS, (pa.types.is_string, pa.types.is_string, pa.types.is_int64, pa.types.is_int64), strict=True)
    )
    for name, is_right in kinds.items():
        found = index.schema.field(name).type
        if not (is_right(found) or (is_right is pa.types.is_string and pa.types.is_large_string(found))):
            return f"has {found} in its column {name}"
        if index[name].null_count:
            return f"has an empty cell in its column {name}"
    if len(pc.unique(index["path"])) != len(index):
        return "lists an image twice"
    sizes = {
        entry.name: entry.stat().st_size
        for entry in os.scandir(folder)
        if entry.name.endswith(SUFFIX) and entry.is_file()
    }
    # Greatest offset and size by themselves as well: a sum of two large ones would come around to a small one.
    greatest = ("offset", "bytes", "end")
    asked = [("offset", "min"), ("bytes", "min"), *((name, "max") for name in greatest)]
    ends = index.append_column("end", pc.add(index["offset"], index["bytes"]))
    for row in ends.group_by("shard").aggregate(asked).to_pylist():
        name = row["shard"]
        if name not in sizes:
            return f"names the tar file {name!r}, which is not there"
        least, most = (
            min(row["offset_min"] - tarfile.BLOCKSIZE, row["bytes_min"]),
            max(row[f"{key}_max"] for key in greatest),
        )
        if least < 0 or most > sizes[name]:
            return f"points outside of {name}, which has {sizes[name]} bytes: that was cut off, or replaced"
    return None
