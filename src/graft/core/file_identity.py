"""Has this file changed since it was last looked at? Asked of the file system, which answers without reading the file.

A file is taken for unchanged when its path, device, inode, size, time of modification and time of change are what they
were. The time of change (``ctime``) is the one that no program can set back: a copy that keeps its modification time,
or a file unpacked with the time of an archive, is still seen. For an image in a tar file,
the tar file is asked.

Times are coarse, though: a file that is written twice within one tick of its clock (2 s on FAT, 1 s on HFS+, the
kernel's 1 to 10 ms elsewhere) bears the same times after the second. Git calls that racy. So a file gets no
identity until it has been at rest for ``SETTLED_NS`` when it is looked at: whatever is written after that look gets a
later time. A file without an identity is read again the next time, which costs its reading and no decoding. What this
cannot see is a writer through mmap whose times the kernel notes later, and a clock that is set back.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass

from graft.core.errors import DataError
from graft.core.packed_files import PackedFile, StoredFile
from graft.modalities.image.decode import read_bytes

SETTLED_NS = 2_000_000_000
IDENTITY_BYTES = 16
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """A file's bytes, all of one moment.

    Attributes:
        data: the bytes.
        sha256: their hash, as 64 hexadecimal digits.
        identity: what :func:`identify` says of the file they were read from.
    """

    data: bytes
    sha256: str
    identity: bytes | None


def identify(path: StoredFile) -> bytes | None:
    """16 bytes that are others once the file has changed; None where it is not there, or not yet at rest."""
    now = time.time_ns()
    return _identity(path, _look(path), now)


def read_steadily(path: StoredFile) -> Reading:
    """Read a file that is not changed meanwhile; where it is, read it again.

    Raises:
        DataError: it is not there, cannot be read, or is changed each time.
    """
    for _ in range(_TRIES):
        now = time.time_ns()
        before = _look(path)
        data = read_bytes(path)
        if before is not None and _look(path) == before and _is_whole(path, before, data):
            return Reading(data, hashlib.sha256(data).hexdigest(), _identity(path, before, now))
    raise DataError(
        "the file was changed while it was read", where=path, remedy="wait until what writes it is done, and run again"
    )


def _look(file: StoredFile) -> tuple[int, int, int, int, int] | None:
    """Device, inode, size in bytes, times of modification and of change in nanoseconds; None where it is not there."""
    path = file.shard if isinstance(file, PackedFile) else file
    try:
        seen = os.stat(path)  # noqa: PTH116 - for every file of large folders, and twice as fast
    except OSError:
        return None
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def _is_whole(file: StoredFile, seen: tuple[int, int, int, int, int], data: bytes) -> bool:
    return len(data) == (file.size if isinstance(file, PackedFile) else seen[2])


def _identity(path: StoredFile, seen: tuple[int, int, int, int, int] | None, now: int) -> bytes | None:
    if seen is None or max(seen[3], seen[4]) > now - SETTLED_NS:
        return None
    text = f"{_absolute(path)}\0{seen}"
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=IDENTITY_BYTES).digest()


def _absolute(file: StoredFile) -> str:
    if isinstance(file, PackedFile):
        return f"{_absolute(file.shard)}\0{file.member}"
    text = str(file)
    return text if os.path.isabs(text) else os.path.join(os.getcwd(), text)  # noqa: PTH109, PTH117, PTH118
