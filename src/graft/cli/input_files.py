"""Resolves names on the command line to sample files: files, folders, patterns, and ``-`` for a list."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from graft.core.errors import DataError
from graft.modalities.base import Modality

LIST = "-"


def sample_files(names: Iterable[str], modality: Modality) -> Iterator[Path | DataError]:
    """Every file that is named, in the order of the names; a DataError for a name that stands for none.

    Args:
        names: files; folders, for all samples in them, at any depth; patterns such as ``photos/**/*.jpg``; ``-`` for
            names on standard input, one a line.
        modality: what is a sample in a folder.
    """
    for name in names:
        if name == LIST:
            lines = (os.fsdecode(line.rstrip(b"\r\n")) for line in sys.stdin.buffer)
            yield from (found for line in lines if line for found in _of_name(line, modality))
        else:
            yield from _of_name(name, modality)


def _of_name(name: str, modality: Modality) -> Iterator[Path | DataError]:
    path = Path(name)
    if path.is_dir():
        yield from _in_folder(path, modality)
    elif any(sign in name for sign in "*?[") and not path.exists():
        matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - a pattern may begin anywhere
        if not matches:
            yield DataError("no file matches this pattern", where=name, remedy=f"patterns count from {Path.cwd()}")
        for match in map(Path, matches):
            if not match.is_dir():
                yield match
            elif "**" not in name:  # which goes into folders itself
                yield from _in_folder(match, modality)
    else:
        yield path  # whoever reads it says what is wrong with it


def _in_folder(folder: Path, modality: Modality) -> Iterator[Path | DataError]:
    from graft.data.sources.scan import ScanScope, scan

    root = folder.resolve()
    found = sorted(item for item in scan(root, ScanScope(root, modality=modality)) if isinstance(item, Path))
    if not found:
        what = modality.name
        yield DataError(
            f"there is no {what} in this folder", where=folder, remedy=f"name {what} files, or their folder"
        )
    yield from (folder / path.relative_to(root) for path in found)
