"""Atomic writes of files and folders: write beside, fsync, rename."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

# One flush of everything is faster than one for each of many files: 1,797 took 0.1 s instead of 1 to 2 s.
_SYNC_ALL_FROM = 50
# Left by file managers in every folder that is looked at.
DEBRIS = frozenset({".ds_store", "thumbs.db", "desktop.ini"})
# Linux's renameat2(2).
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it replaces ``path``, else it is deleted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept: writers such as matplotlib choose the format by it.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.chmod(0o644)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside ``path``; on success it replaces ``path``, else it is deleted.

    Where ``path`` is a link to a folder, as to another disk, that folder is replaced and the link stays.

    Raises:
        DataError: the link leads nowhere, or files were put into ``path`` meanwhile.
    """
    if path.is_symlink():
        if not path.exists():
            raise DataError(
                "this link leads nowhere",
                where=path,
                remedy=f"make the folder {os.path.realpath(path)}, mount the disk that it is on, or remove the link",
            )
        path = path.resolve()
    before = _names(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        yield beside
        beside.chmod(0o755)
        _fsync_tree(beside)
        if added := sorted(_names(path) - before):
            raise DataError(
                f"this was put there while the folder was made anew: {added[0]}",
                where=path,
                remedy="move it to a folder of its own, for instance data/mine, and run again",
            )
        _put_in_place(beside, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _names(folder: Path) -> set[str]:
    """Every file below, relative to the folder."""
    return {
        os.path.relpath(Path(place) / name, folder)
        for place, _, names in os.walk(folder)
        for name in names
        if name.casefold() not in DEBRIS
    }


def _put_in_place(beside: Path, path: Path) -> None:
    """Replace the folder, on Linux in one step, so that readers see the old folder or the new one.

    Elsewhere a folder cannot be renamed over a full one, so the old one steps aside first.
    """
    if not path.exists():
        beside.rename(path)
        return
    if _exchange(beside, path):
        return  # the old one is where the new one was written, and goes with that
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.old."))
    path.rename(old / "was")
    beside.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two paths atomically; False where the system or the file system cannot."""
    if sys.platform != "linux":
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:  # a C library from before 2018
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0)


def _fsync_tree(folder: Path) -> None:
    files = [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]
    if len(files) > _SYNC_ALL_FROM:
        os.sync()
        return
    for file in files:
        with file.open("rb") as handle:
            os.fsync(handle.fileno())


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole."""
    with atomic_file(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole, keys in the order given; NaN and infinities are refused (not JSON)."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table whole, with the same bytes on every system."""
    write_text(path, table.to_csv(index=False, lineterminator="\n"))


def sha256(path: Path) -> str:
    """The file's SHA-256 as 64 hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
