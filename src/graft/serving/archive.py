"""The files of a zip, taken out in memory: no path is ever written, so none in it can lead anywhere.

A zip may be a bomb: its directory may lie about sizes, entries may lie over one another, and a few kB may unpack to
gigabytes. So what is unpacked is counted as it comes out, and that much and no more is ever held.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

from graft.core.errors import DataError

_REMEDY = "send a zip of image files, or the images themselves"
# No image shrinks so well, but for pictures of one colour; and those are small.
_MOST_RATIO = 200
_RATIO_FROM = 1 << 20  # bytes; what is smaller may shrink as it likes
_CHUNK = 1 << 16
_ENTRY = b"PK\x01\x02"
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ARCHIVES = (
    b"PK\x03\x04",
    b"PK\x05\x06",
    b"\x1f\x8b",
    b"7z\xbc\xaf",
    b"Rar!",
    b"BZh",
    b"\xfd7zXZ",
    b"\x28\xb5\x2f\xfd",
)
# What operating systems put into zips of their own accord.
_LITTER = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Member:
    """One file of a zip.

    Attributes:
        name: as it stands there, with its folders; only ever shown.
        data: its bytes, or why they cannot be had.
    """

    name: str
    data: bytes | DataError


def members(archive: bytes, most: int, most_bytes: int, each_most: int) -> Iterator[Member]:
    """The files of a zip in its order, without folders and what operating systems add.

    Args:
        archive: the zip's bytes.
        most: files that it may have.
        most_bytes: that all of them may have together, unpacked.
        each_most: bytes that one may have.

    Raises:
        DataError: it is no zip, or has too many files, or they are too large together.
    """
    # Before the directory is read, for millions of entries take long: none begins but by these bytes.
    if archive.count(_ENTRY) > 10 * most + 100:
        raise DataError(f"the zip has more than {most:,} files", remedy="send fewer")
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            entries = [entry for entry in opened.infolist() if not _is_passed_over(entry.filename)]
            if len(entries) > most:
                raise DataError(f"the zip has {len(entries):,} files, and the most is {most:,}", remedy="send fewer")
            if not entries:
                raise DataError("there is no file in the zip", remedy=_REMEDY)
            left = most_bytes
            for entry in entries:
                member = _member(opened, entry, min(each_most, left), is_last_room=left < each_most)
                left -= len(member.data) if isinstance(member.data, bytes) else 0
                yield member
    except DataError:
        raise
    except Exception:  # as for images: Python's reader meets damaged bytes with nearly any of them
        raise DataError("the archive is no zip that can be read", remedy=_REMEDY) from None


def _is_passed_over(name: str) -> bool:
    is_folder = name.endswith("/")
    return is_folder or name.startswith(_LITTER[0]) or name.rpartition("/")[2] in _LITTER[1:] or "/._" in f"/{name}"


def _member(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, room: int, is_last_room: bool) -> Member:
    """One file, or why not; only what concerns all of them is raised."""
    if entry.flag_bits & 0x1:
        return Member(entry.filename, DataError("this file is encrypted", remedy="send it without a password"))
    if entry.compress_type not in _METHODS:
        error = DataError("this file is packed in a way that is not read", remedy="pack it as an ordinary zip")
        return Member(entry.filename, error)
    try:
        data = _unpacked(opened, entry, room)
    except Exception:  # as above
        return Member(entry.filename, DataError("this file is damaged in the zip", remedy="pack it again"))
    if data is None:
        if is_last_room:
            raise DataError("the zip unpacks to more than may be sent at once", remedy="send it in parts")
        return Member(entry.filename, DataError("this file is too large", remedy="make it smaller"))
    if len(data) > _RATIO_FROM and len(data) > _MOST_RATIO * max(entry.compress_size, 1):
        raise DataError("the zip is a bomb: it unpacks to more than 200 times its size", remedy=_REMEDY)
    if data.startswith(_ARCHIVES):
        return Member(entry.filename, DataError("this is an archive in the archive", remedy="take its files out of it"))
    return Member(entry.filename, data)


def _unpacked(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, room: int) -> bytes | None:
    """The file's bytes; None where there are more than ``room``, whatever the zip says of them."""
    chunks, size = [], 0
    with opened.open(entry) as file:
        while chunk := file.read(_CHUNK):
            size += len(chunk)
            if size > room:
                return None
            chunks.append(chunk)
    return b"".join(chunks)
