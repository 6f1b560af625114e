"""Files in a folder or packed in tar files, behind one interface; packed files are read in place.

``open_folder(folder) / "cat/1.jpg"`` is a path where the images are loose, and a :class:`PackedFile` where
:mod:`graft.data.packing` packed them; whatever opens an image takes either. A packed image is one read at its place:
nothing is unpacked, and no file is held open, so threads and processes share nothing.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from graft.core.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

INDEX_FILE = "index.parquet"
SUFFIX = ".tar"
MAX_BYTES = 1 << 30
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
        """The path first, then the tar file that holds it."""
        return f"{self.shard.parent / self.member} (in {self.shard.name})"

    def read_bytes(self) -> bytes:
        """Read its bytes, checking the header before them.

        Raises:
            DataError: the tar file is gone, was cut off, or holds something else at this place.
        """
        try:
            with self.shard.open("rb") as file:
                file.seek(self.offset - tarfile.BLOCKSIZE)
                read = file.read(tarfile.BLOCKSIZE + self.size)
        except (OSError, ValueError) as error:  # ValueError: a place that no file has
            raise self._refused(f"the tar file cannot be read: {getattr(error, 'strerror', None) or error}") from None
        if len(read) < tarfile.BLOCKSIZE + self.size:
            raise self._refused("the tar file was cut off: the image is not all there")
        if not self._is_headed_by(read[: tarfile.BLOCKSIZE]):
            raise self._refused("the tar file does not hold the image where its index says")
        return read[tarfile.BLOCKSIZE :]

    def _is_headed_by(self, block: bytes) -> bool:
        """Whether this tar header has the file's name and size; long and non-ASCII names are in another block."""
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


StoredFile = Path | PackedFile


@dataclass(frozen=True)
class PackedFolder:
    """A folder of tar files with an index of their members; ``folder / path`` is a packed file.

    The index is read once, when the first image is asked for, and is left behind where this is sent to another process.
    """

    folder: Path

    def __truediv__(self, path: str) -> PackedFile:
        """The packed file of this path.

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
        """Pickle the folder alone, not the index."""
        return {"folder": self.folder}

    def paths(self) -> list[str]:
        """The path of every image, sorted."""
        return list(self._places)

    @cached_property
    def _places(self) -> dict[str, tuple[str, int, int]]:
        """Tar file, offset and size of every image, by its path."""
        paths, *places = (column.to_pylist() for column in self._read().columns)
        found: dict[str, tuple[str, int, int]] = dict(zip(paths, zip(*places, strict=True), strict=True))
        ends: dict[str, int] = {}
        for shard, offset, size in found.values():
            ends[shard] = max(ends.get(shard, 0), offset + size)
        for shard, end in ends.items():
            self._check_shard(self.folder / shard, end)
        return found

    def _check_shard(self, shard: Path, end: int) -> None:
        """Refuse a missing or truncated tar file early: else its images would count as undecodable."""
        size = shard.stat().st_size if shard.is_file() else 0
        if size < end:
            raise DataError(f"the tar file was cut off or is gone: {size} bytes are there", where=shard, remedy=_AGAIN)

    def _read(self) -> pa.Table:
        import pyarrow as pa
        import pyarrow.parquet as pq

        where = self.folder / INDEX_FILE
        types = (pa.string(), pa.string(), pa.int64(), pa.int64())
        try:
            index = pq.read_table(where, columns=list(COLUMNS)).select(COLUMNS)
            return index.cast(pa.schema(zip(COLUMNS, types, strict=True)))
        except (OSError, ValueError, KeyError) as error:  # pyarrow's own errors are ValueErrors and KeyErrors
            reason = str(error).partition("\n")[0]
            raise DataError(
                f"the index of the packed images cannot be read: {reason}", where=where, remedy=_AGAIN
            ) from None


ImageFolder = Path | PackedFolder


def open_folder(folder: Path) -> ImageFolder:
    """Open data/raw: ``open_folder(folder) / path`` is a file, loose or packed.

    Raises:
        DataError: they are packed, and the index or a tar file is missing or damaged. Whether a tar file holds an image
            where the index says is checked when the image is read.
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


def read_bytes(file: StoredFile) -> bytes:
    """The bytes of a regular file of at most ``MAX_BYTES``; a pipe or device, which would hang, is refused.

    Raises:
        DataError: there is no such file, or it cannot be read.
    """
    try:
        # Of a packed file, the index was held against the tar files already.
        if isinstance(file, Path) and not file.is_file():
            if file.exists():
                raise DataError("this is not a file", where=file, remedy="name image files, such as photos/*.jpg")
            raise DataError("there is no such file", where=file, remedy=f"names count from {Path.cwd()}")
        if size_of(file) > MAX_BYTES:
            raise DataError(
                f"the file is larger than {MAX_BYTES >> 20} MiB", where=file, remedy="make it smaller, or take it out"
            )
        return file.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"the file cannot be read: {reason}", where=file, remedy="check that it is there and may be read"
        ) from None


def open_file(file: StoredFile) -> BinaryIO:
    """Open a loose or packed file for reading.

    Raises:
        DataError: the tar file no longer holds it.
        OSError: a loose file cannot be opened.
    """
    return io.BytesIO(file.read_bytes()) if isinstance(file, PackedFile) else file.open("rb")


def size_of(file: StoredFile) -> int:
    """Size of an image file in bytes. Raises OSError as ``Path.stat`` does."""
    return file.size if isinstance(file, PackedFile) else file.stat().st_size
