"""The files of a zip, unpacked in memory and bounded: by what comes out, whatever the zip's directory says."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

from graft.core.errors import DataError

_REMEDY = "send a zip of image files, or the images themselves"
_ENTRY = b"PK\x01\x02"  # begins an entry of the directory
# Python bounds what one read unpacks for these only.
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
# What operating systems add to zips.
_LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class Member:
    """One file of a zip.

    Attributes:
        name: in the zip, with its folders; only ever shown.
        data: its bytes, or why they cannot be read.
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
    # Before the directory is read, as millions of entries take long.
    if archive.count(_ENTRY) > 10 * most + 100:
        raise DataError(f"the zip has more than {most:,} files", remedy="send fewer")
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            entries = [entry for entry in opened.infolist() if not _is_litter(entry.filename)]
            if len(entries) > most:
                raise DataError(f"the zip has {len(entries):,} files, and the most is {most:,}", remedy="send fewer")
            if not entries:
                raise DataError("there is no file in the zip", remedy=_REMEDY)
            left = most_bytes
            for entry in entries:
                data = _read(opened, entry, min(each_most, left))
                if data is None and left < each_most:
                    raise DataError("the zip unpacks to more than may be sent at once", remedy="send it in parts")
                left -= len(data) if isinstance(data, bytes) else 0
                too_large = DataError("this file is too large", remedy="make it smaller")
                yield Member(entry.filename, too_large if data is None else data)
    except DataError:
        raise
    except Exception:  # Python's reader meets damaged bytes with nearly any of them
        raise DataError("the archive is no zip that can be read", remedy=_REMEDY) from None


def _is_litter(name: str) -> bool:
    is_folder = name.endswith("/")
    return is_folder or name.startswith("__MACOSX/") or name.rpartition("/")[2] in _LITTER or "/._" in f"/{name}"


def _read(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, most_bytes: int) -> bytes | DataError | None:
    """The file's bytes, or why they cannot be read; None where there are more than ``most_bytes``."""
    if entry.flag_bits & 0x1:
        return DataError("this file is encrypted", remedy="send it without a password")
    if entry.compress_type not in _METHODS:
        return DataError("this file is packed in a way that is not read", remedy="pack it as an ordinary zip")
    try:
        with opened.open(entry) as file:
            data = file.read(most_bytes + 1)
    except Exception:  # as above
        return DataError("this file is damaged in the zip", remedy="pack it again")
    return data if len(data) <= most_bytes else None
