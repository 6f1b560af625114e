"""One file of kept rows: a .npy file, and after the array an index that says what each row is and its checksum.

numpy maps such a file into memory as any other. The index holds for each row a key (what the row was made from) and
the CRC-32 of its bytes, and ends with a CRC-32 of itself and of the .npy header. So a file is never flushed to the disk
before it is put in place: what a power cut leaves of it is found when it is read.
"""

from __future__ import annotations

import io
import os
import struct
import tempfile
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.determinism import available_cores
from graft.features.keys import KEY_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[Any]

SUFFIX = ".npy"
PARTIAL = ".part"
_MAGIC = b"graftrow"
# Length of the array's part of the file, number of rows, CRC-32 of header and index; then the magic number.
_FOOTER = struct.Struct("<QQI8s")
# Rows are checked by as many threads as there are cores, each this many bytes at a time.
_CHUNK = 1 << 22


class DamagedFileError(Exception):
    """A file of rows whose header or index is not as it was written."""


@dataclass(frozen=True)
class RowFile:
    """A file of rows mapped into memory; the mapping outlives the file's removal.

    Attributes:
        rows: (n, ...). A private mapping: what is written to it never reaches the file.
        keys: what each row was made from, uint8 (n, 32).
        sums: CRC-32 of each row's bytes, uint32 (n).
    """

    rows: Rows
    keys: NDArray[np.uint8]
    sums: NDArray[np.uint32]

    @classmethod
    def open(cls, path: Path) -> RowFile:
        """Map a file; its index is checked, its rows are not.

        Raises:
            DamagedFileError: its header or index is damaged, or it was cut off.
            OSError: it is not there or cannot be read.
        """
        with path.open("rb") as file:
            try:
                size = file.seek(-_FOOTER.size, os.SEEK_END)
                end, count, wanted, magic = _FOOTER.unpack(file.read())
                if magic != _MAGIC or size - end != count * (KEY_BYTES + 4):
                    raise DamagedFileError("its end is missing")
                file.seek(end)
                index = file.read(size - end)
                file.seek(0)
                np.lib.format.read_magic(file)
                np.lib.format.read_array_header_1_0(file)
                start = file.tell()
                file.seek(0)
                if zlib.crc32(index, zlib.crc32(file.read(start))) != wanted:
                    raise DamagedFileError("its index is damaged")
            except (ValueError, struct.error, OSError) as error:  # OSError: shorter than a footer
                raise DamagedFileError(f"it cannot be read ({error})") from None
        rows = np.load(path, mmap_mode="c", allow_pickle=False)
        keys = np.frombuffer(index, np.uint8, count * KEY_BYTES).reshape(count, KEY_BYTES)
        return cls(np.asarray(rows), keys, np.frombuffer(index, np.uint32, count, count * KEY_BYTES))

    def sound(self, places: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Whether the rows at ``places`` (m) are as they were written, bool (m)."""
        each = max(1, self.rows.itemsize * int(np.prod(self.rows.shape[1:], dtype=np.int64)))
        parts = np.array_split(places, max(1, len(places) * each // _CHUNK))

        def check(part: NDArray[np.intp]) -> list[bool]:
            return [zlib.crc32(_bytes_of(self.rows[place : place + 1])) == self.sums[place] for place in part]

        with ThreadPoolExecutor(available_cores()) as pool:
            return np.array([good for part in pool.map(check, parts) for good in part], dtype=bool)


class RowWriter:
    """Writes rows in any order, from any thread, and then the index."""

    def __init__(self, path: Path, keys: NDArray[np.uint8]) -> None:
        self._path = path
        self._keys = keys
        self._sums = np.zeros(len(keys), np.uint32)
        self._written = np.zeros(len(keys), bool)
        self._lock = threading.Lock()
        self._header = b""
        self._kind: tuple[np.dtype[Any], tuple[int, ...]] | None = None
        self._file = path.open("r+b", buffering=0)

    def put(self, place: int, row: Rows) -> None:
        """Write one row, (1, ...); the first one says what all of them look like."""
        with self._lock:
            if self._kind is None:
                self._begin(row)
        assert self._kind == (row.dtype, row.shape[1:]), "rows of one file are alike"
        data = _bytes_of(row)
        # Not through a mapping: where the disk is full, that would end the process and not raise an error.
        _write_at(self._file.fileno(), data, len(self._header) + place * len(data))
        self._sums[place] = zlib.crc32(data)
        self._written[place] = True

    def _begin(self, row: Rows) -> None:
        header = io.BytesIO()
        shape = (len(self._keys), *row.shape[1:])
        descr = np.lib.format.dtype_to_descr(row.dtype)
        np.lib.format.write_array_header_1_0(header, {"descr": descr, "fortran_order": False, "shape": shape})
        self._header = header.getvalue()
        self._kind = (row.dtype, row.shape[1:])
        _write_at(self._file.fileno(), self._header, 0)

    def finish(self) -> RowFile:
        """Write the index and map what was written."""
        assert self._kind is not None and self._written.all(), "every row is written before the index"
        index = self._keys.tobytes() + self._sums.astype("<u4").tobytes()
        end = self._file.seek(0, os.SEEK_END)
        footer = _FOOTER.pack(end, len(self._keys), zlib.crc32(index, zlib.crc32(self._header)), _MAGIC)
        _write_at(self._file.fileno(), index + footer, end)
        return RowFile.open(self._path)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


@contextmanager
def writing(path: Path, keys: NDArray[np.uint8]) -> Iterator[RowWriter]:
    """A writer of a file beside ``path``, which takes its place on success, else it goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=PARTIAL)
    os.close(handle)
    beside = Path(name)
    writer = RowWriter(beside, keys)
    try:
        yield writer
        beside.chmod(0o644)
        beside.replace(path)
    finally:
        writer.close()
        beside.unlink(missing_ok=True)


def _bytes_of(row: Rows) -> memoryview:
    return np.ascontiguousarray(row).reshape(-1).view(np.uint8).data


def _write_at(handle: int, data: bytes | memoryview, offset: int) -> None:
    view = memoryview(data)
    while view:  # one call writes 2 GiB at most
        done = os.pwrite(handle, view, offset)
        view, offset = view[done:], offset + done
