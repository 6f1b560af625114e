"""Ingest: clone or copy samples into class folders under data/raw, and list them in a table.

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
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from graft.core.errors import DataError
from graft.core.packed_files import PackedFile, StoredFile, open_file
from graft.core.progress import track
from graft.data.sources.listing import Sample

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("path", "label", "split", "group", "source")
_LONGEST_NAME = 255  # bytes, on every common file system
_NO_CLONE = {errno.EXDEV, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EPERM}


def copy_images(samples: Sequence[Sample], folder: Path) -> pd.DataFrame:
    """Clone or copy every image to ``folder/<class>/<name>`` and return the table.

    Names are kept. Where two images of one class have the same name, as in ``train/ants/1.jpg`` and
    ``val/ants/1.jpg``, the second in order of its source path gets a hash of that path added: ``1-3f2a9c1b.jpg``.

    Returns:
        A row per image, sorted by path: path (relative to ``folder``), label, split, group, source.

    Raises:
        DataError: a file cannot be read or written.
    """
    placed = by_raw_path(samples)
    for name in sorted({path.split("/", 1)[0] for path in placed}):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for path, sample in track(list(placed.items()), "taking images in"):
        _copy(sample.file, folder / path)
    return ingested_table(placed)


def ingested_table(samples: Mapping[str, Sample]) -> pd.DataFrame:
    """The table of ``data/ingested.parquet`` for samples by their paths under data/raw, sorted by these.

    It has text columns only, None where the source says nothing. The user's own facts follow the columns that every
    source has.
    """
    import pandas as pd

    names = list(dict.fromkeys(name for sample in samples.values() for name, _ in sample.facts))
    rows = []
    for path, sample in samples.items():
        facts = dict(sample.facts)
        rows.append((path, sample.label, sample.split, sample.group, sample.source, *map(facts.get, names)))
    return pd.DataFrame(rows, columns=[*COLUMNS, *names]).astype("str").sort_values("path", ignore_index=True)


def table_in_place(samples: Sequence[Sample]) -> tuple[pd.DataFrame, list[StoredFile]]:
    """The table that taking ``samples`` in would give, and for each row the file where it lies now."""
    placed = by_raw_path(samples)
    table = ingested_table(placed)
    return table, [placed[path].file for path in table["path"]]


def by_raw_path(samples: Sequence[Sample]) -> dict[str, Sample]:
    """Each sample by a unique path under data/raw, the same for the same samples."""
    folders = _class_folders({sample.label for sample in samples})
    taken: set[str] = set()
    placed = {}
    for sample in samples:
        path = f"{folders[sample.label]}/{sample.file.name}"
        if _key(path) in taken:
            path = f"{folders[sample.label]}/{_distinct(sample.file.name, sample.source)}"
        taken.add(_key(path))
        placed[path] = sample
    return placed


def _class_folders(labels: set[str]) -> dict[str, str]:
    """A safe folder name for each label; labels of a table can be any text, such as ``../x``."""
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
    """A key that is equal for names which some file systems take for one."""
    return unicodedata.normalize("NFC", path).casefold()


def _distinct(name: str, source: str) -> str:
    mark = "-" + hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    suffix = PurePosixPath(name).suffix
    stem = name.removesuffix(suffix)
    room = _LONGEST_NAME - len((mark + suffix).encode())
    return stem.encode()[:room].decode(errors="ignore") + mark + suffix


def _copy(file: StoredFile, target: Path) -> None:
    try:
        with open_file(file) as source, target.open("xb") as copy:
            if isinstance(file, PackedFile) or not _clone(source.fileno(), copy.fileno()):
                shutil.copyfileobj(source, copy, 1 << 20)
    except OSError as error:
        raise ingest_error(file if error.filename != str(target) else target, error) from None


def ingest_error(where: StoredFile, error: OSError) -> DataError:
    """The error of a file that cannot be copied."""
    return DataError(
        f"the image cannot be taken in: {error.strerror or error}",
        where=where,
        remedy="check that it is still there and may be read, and that there is space left",
    )


def _clone(source: int, copy: int) -> bool:
    """Copy in the kernel, sharing blocks where the file system can (reflink). False where it cannot."""
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
