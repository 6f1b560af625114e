"""Repair of a table's paths that name no file: another base folder, a missing suffix, another machine's paths."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from graft.data.sources.listing import ignored_reason
from graft.data.sources.tables.spelling import is_file
from graft.modalities.image.signatures import SUFFIXES

# Files that are listed to look for the first path's name, and places of it that are tried on all paths.
_MOST_FILES = 100_000
_MOST_PLACES = 20
_OF_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


@dataclass(frozen=True)
class PathRule:
    """A rewrite of paths: outer folders dropped, a base folder and a suffix added.

    Attributes:
        dropped: how many outer folders are taken off.
        base: the folder that is put before; may be empty.
        suffix: what is put after; may be empty.
    """

    dropped: int
    base: str
    suffix: str

    def apply(self, parts: Sequence[str]) -> str | None:
        """The path as it should be, or None where it has too few folders."""
        if len(parts) <= self.dropped:
            return None
        return (PurePosixPath(self.base) / "/".join(parts[self.dropped :])).as_posix() + self.suffix

    def __str__(self) -> str:
        steps = [
            f"{self.dropped} outer folder{'s'[: self.dropped > 1]} taken off" if self.dropped else "",
            f"'{self.base}/' before it" if self.base else "",
            f"{self.suffix!r} after it" if self.suffix else "",
        ]
        return f"there is no such file, but one with {' and '.join(filter(None, steps))}"


def find_path_rule(home: Path, names: Sequence[str]) -> PathRule | None:
    """The rule by which each of ``names`` becomes the path of a file, or None.

    Args:
        home: the folder that paths are relative to; files are looked for in it, and then in the one above it.
        names: paths as they stand in the table.
    """
    every = [path_parts(name) for name in names]
    for top in (home, home.resolve().parent):
        files = _files_by_name(top, home)
        for rule in dict.fromkeys(_rules_for(every[0], files)):
            paths = [rule.apply(parts) for parts in every]
            if all(path is not None and is_file(home / path) for path in paths):
                return rule
    return None


def path_parts(name: str) -> list[str]:
    """Parts of a POSIX path, Windows path or URL."""
    path = unquote(urlsplit(name.strip()).path) if "://" in name else name.strip().replace("\\", "/")
    return [part for part in path.split("/") if part not in {"", "."} and not part.endswith(":")]


def foreign_path_advice(name: str) -> str | None:
    """Advice on a URL or on a path of another operating system, or None."""
    if "://" in name:
        return "these are addresses, and graft downloads nothing: fetch the files, and name those"
    if os.sep == "/" and _OF_WINDOWS.match(name):
        return "these are paths of another machine: name the files relative to the table's folder"
    return None


def _files_by_name(top: Path, home: Path) -> Mapping[str, list[PurePosixPath]]:
    """Image files below ``top`` as seen from ``home``, under their names and under those without the suffix."""
    found: dict[str, list[PurePosixPath]] = defaultdict(list)
    listed = 0
    for folder, inner, files in os.walk(top):
        inner[:] = sorted(name for name in inner if ignored_reason(name) is None)
        place = PurePosixPath(Path(os.path.relpath(folder, home)).as_posix())
        for name in sorted(files):
            if Path(name).suffix.lower() in SUFFIXES:
                for key in (name, Path(name).stem):
                    found[key].append(place / name)
        listed += len(files)
        if listed > _MOST_FILES:
            break
    return found


def _rules_for(parts: Sequence[str], files: Mapping[str, list[PurePosixPath]]) -> Iterator[PathRule]:
    """Rules that make one path name a file, dropping as few folders as possible."""
    for place in files.get(parts[-1], [])[:_MOST_PLACES] if parts else ():
        suffix = "" if place.name == parts[-1] else place.suffix
        for dropped in range(len(parts)):
            tail = (*parts[dropped:-1], parts[-1] + suffix)
            if place.parts[-len(tail) :] == tail:
                base = PurePosixPath(*place.parts[: -len(tail)])
                yield PathRule(dropped, "" if base == PurePosixPath() else str(base), suffix)
                break
