"""Taking images in: cloned or copied into class folders under data/raw, with a table of what each one is.

On file systems that can (Btrfs, XFS, ZFS) the kernel clones: the copy shares the blocks until one of the two is
changed. Hard links would be as cheap, but are not safe here: where DVC's cache is set to hard links, DVC takes the
linked file itself into its cache and makes it read-only, and that file would be the user's own.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import unicodedata
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from graft.core.errors import DataError
from graft.core.packed_files import PackedFile, StoredImage, open_stored
from graft.core.progress import track
from graft.data.sources.records import Record

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("path", "label", "split", "group", "source")
_LONGEST_NAME = 255  # bytes, on every common file system
_NO_CLONE = {errno.EXDEV, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EPERM}


def place_images(records: Sequence[Record], folder: Path) -> pd.DataFrame:
    """Clone or copy every image to ``folder/<class>/<name>`` and return the table.

    Names are kept. Where two images of one class have the same name, as in ``train/ants/1.jpg`` and
    ``val/ants/1.jpg``, the second in order of its source path gets a hash of that path added: ``1-3f2a9c1b.jpg``.

    Returns:
        A row per image, sorted by path: path (relative to ``folder``), label, split, group, source.

    Raises:
        DataError: a file cannot be read or written.
    """
    paths = raw_paths(records)
    for name in sorted({path.split("/", 1)[0] for path in paths}):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for record, path in track(list(zip(records, paths, strict=True)), "taking images in"):
        _copy(record.file, folder / path)
    return table_of(records, paths)


def table_of(records: Sequence[Record], paths: Sequence[str]) -> pd.DataFrame:
    """The table of ``data/ingested.parquet``: text columns only, None where the source says nothing.

    The user's own facts follow the columns that every source has.
    """
    import pandas as pd

    facts = [dict(record.facts) for record in records]
    names = list(dict.fromkeys(name for each in facts for name in each))
    rows = [
        (path, record.label, record.split, record.group, record.source, *(own.get(name) for name in names))
        for record, path, own in zip(records, paths, facts, strict=True)
    ]
    table = pd.DataFrame(rows, columns=[*COLUMNS, *names]).astype("str")
    return table.sort_values("path", ignore_index=True)


def raw_paths(records: Sequence[Record]) -> list[str]:
    """Where each record goes, relative to data/raw and with ``/``: the same for the same records, none twice."""
    folders = _class_folders({record.label for record in records})
    taken: set[str] = set()
    paths = []
    for record in records:
        path = f"{folders[record.label]}/{record.file.name}"
        if _key(path) in taken:
            path = f"{folders[record.label]}/{_distinct(record.file.name, record.source)}"
        taken.add(_key(path))
        paths.append(path)
    return paths


def _class_folders(labels: set[str]) -> dict[str, str]:
    """A folder's name for each label; a label of a table can hold anything, ``../x`` included."""
    folders: dict[str, str] = {}
    taken: set[str] = set()
    for label in sorted(labels):
        name = "".join("_" if char in "/\\\0" or ord(char) < 32 else char for char in label).lstrip(".").strip()
        if not name or name != label or _key(name) in taken or len(name.encode()) > _LONGEST_NAME:
            name = _distinct(name[:50] or "unlabelled", label)
        folders[label] = name
        taken.add(_key(name))
    return folders


def _key(path: str) -> str:
    """Two names that a file system without case or with other Unicode forms would take for one."""
    return unicodedata.normalize("NFC", path).casefold()


def _distinct(name: str, source: str) -> str:
    mark = "-" + hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    suffix = PurePosixPath(name).suffix
    stem = name.removesuffix(suffix)
    room = _LONGEST_NAME - len((mark + suffix).encode())
    return stem.encode()[:room].decode(errors="ignore") + mark + suffix


def _copy(file: StoredImage, target: Path) -> None:
    try:
        with open_stored(file) as source, target.open("xb") as copy:
            if isinstance(file, PackedFile) or not _clone(source.fileno(), copy.fileno()):
                shutil.copyfileobj(source, copy, 1 << 20)
    except OSError as error:
        raise not_taken_in(file if error.filename != str(target) else target, error) from None


def not_taken_in(where: StoredImage, error: OSError) -> DataError:
    """What is said where an image cannot be copied, or where its copy cannot be written."""
    return DataError(
        f"the image cannot be taken in: {error.strerror or error}",
        where=where,
        remedy="check that it is still there and may be read, and that there is space left",
    )


def _clone(source: int, copy: int) -> bool:
    """Let the kernel copy, which shares blocks where the file system can. False where it cannot copy at all."""
    if not hasattr(os, "copy_file_range"):
        return False
    try:
        while os.copy_file_range(source, copy, 1 << 30):
            pass
    except OSError as error:
        if error.errno not in _NO_CLONE:
            raise
        os.lseek(source, 0, os.SEEK_SET)
        os.ftruncate(copy, 0)
        os.lseek(copy, 0, os.SEEK_SET)
        return False
    return True
