"""Resolves names on the command line to image files: files, folders, patterns, and ``-`` for a list."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from graft.core.errors import DataError

LIST = "-"


def image_files(names: Iterable[str]) -> Iterator[Path | DataError]:
    """Every file that is named, in the order of the names; a DataError for a name that stands for none.

    Args:
        names: files; folders, for all images in them, at any depth; patterns such as ``photos/**/*.jpg``; ``-`` for
            names on standard input, one a line.
    """
    for name in names:
        if name == LIST:
            lines = (os.fsdecode(line.rstrip(b"\r\n")) for line in sys.stdin.buffer)
            yield from (found for line in lines if line for found in _of_name(line))
        else:
            yield from _of_name(name)


def _of_name(name: str) -> Iterator[Path | DataError]:
    path = Path(name)
    if path.is_dir():
        yield from _in_folder(path)
    elif any(sign in name for sign in "*?[") and not path.exists():
        matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - a pattern may begin anywhere
        if not matches:
            yield DataError("no file matches this pattern", where=name, remedy=f"patterns count from {Path.cwd()}")
        for match in map(Path, matches):
            if not match.is_dir():
                yield match
            elif "**" not in name:  # which goes into folders itself
                yield from _in_folder(match)
    else:
        yield path  # whoever reads it says what is wrong with it


def _in_folder(folder: Path) -> Iterator[Path | DataError]:
    from graft.data.sources.scan import ScanScope, scan

    root = folder.resolve()
    found = sorted(item for item in scan(root, ScanScope(root)) if isinstance(item, Path))
    if not found:
        yield DataError("there is no image in this folder", where=folder, remedy="name image files, or their folder")
    yield from (folder / path.relative_to(root) for path in found)
