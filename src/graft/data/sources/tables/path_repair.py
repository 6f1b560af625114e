"""Repair of a table's paths that name no file: spelled otherwise, below another folder, or without their suffix.

A spelling is mended path by path (:func:`find_similar_path`); of all other repairs one rule must fit every path
(:func:`find_path_rule`).
"""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from graft.data.sources.listing import ignored_reason
from graft.modalities.image.signatures import SUFFIXES

# Files that are listed to look for the first path's name, and places of it that are tried on all paths.
_MOST_FILES = 100_000
_MOST_PLACES = 20


def is_file(path: Path) -> bool:
    """Whether there is such a file; names that no file system takes give False."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def find_similar_path(home: Path, name: str, folders: dict[Path, dict[str, list[str]]]) -> str | None:
    """The one file whose path is ``name`` but for case, Unicode form, outer white space, or ``\\`` for ``/``.

    ``folders`` keeps what was listed, for the next name.
    """
    current = home
    for part in name.strip().replace("\\", "/").split("/"):
        if not part or part in {".", ".."}:
            current = current / part
            continue
        if current not in folders:
            folders[current] = _names_by_key(current)
        same = folders[current].get(_name_key(part), [])
        if part not in same and len(same) != 1:
            return None
        current = current / (part if part in same else same[0])
    return os.path.relpath(current, home) if is_file(current) else None


def _names_by_key(folder: Path) -> dict[str, list[str]]:
    names: dict[str, list[str]] = defaultdict(list)
    try:
        for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names are all that is wanted, and there may be many
            names[_name_key(name)].append(name)
    except (OSError, ValueError):
        return {}
    return names


def _name_key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


@dataclass(frozen=True)
class PathRule:
    """A rewrite of paths: outer folders dropped, then a base folder put before and a suffix after, maybe empty."""

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
    """The rule by which each of ``names``, as they stand in the table, becomes the path of a file, or None.

    Files are looked for in ``home``, the folder that paths are relative to, and then in the one above it.
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
