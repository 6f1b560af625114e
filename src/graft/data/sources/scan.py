"""Walk folders for sample files: which files are skipped and why, and which links are followed.

Links are how a walk hangs, reads a disk, or takes one class for another. So a link to a folder is followed only where
the user asked for it (``data.follow_links``), only out of the data, and every folder once: a link back into the data
would give its images the label of where the link lies.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from graft.data.sources.listing import Skipped, ignored_reason, printable
from graft.modalities.base import Modality, is_sample, not_a_sample
from graft.modalities.registry import DEFAULT

NOT_FOLLOWED = "a link to a folder, which is not followed"
LEADS_OUT = "a link that leads out of the data folder"
LEADS_NOWHERE = "a link that leads nowhere"
# What `data.follow_links: true` would change.
FOLLOWABLE = frozenset({NOT_FOLLOWED, LEADS_OUT})
NO_FOLDER = "not in a class folder"


@dataclass(frozen=True)
class ScanScope:
    """The root of a scan (resolved), whether links out of it are followed, and what kind of file is looked for."""

    root: Path
    follow_links: bool = False
    modality: Modality = DEFAULT

    def name(self, path: Path) -> str:
        """A path as messages write it: relative to the source, with ``/``, printable."""
        return printable(path.relative_to(self.root).as_posix())


def list_dir(folder: Path) -> tuple[list[os.DirEntry[str]], str | None]:
    """Sorted entries of a folder, and an error message if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name), None
    except OSError as error:
        return [], f"cannot be listed: {error.strerror}"


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether the entry is a folder or a link to one; False for a circular link."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def scan(folder: Path, scope: ScanScope) -> Iterator[Path | Skipped]:
    """Yield every sample file under ``folder``, and what is skipped; every real folder is entered once."""
    waiting, seen = [folder], set[tuple[int, int]]()
    while waiting:
        current = waiting.pop()
        if scope.follow_links and not _first_time(current, seen):
            yield Skipped(scope.name(current), "a folder that was read already through a link")
            continue
        entries, trouble = list_dir(current)
        if trouble:
            yield Skipped(scope.name(current), trouble)
        for entry in entries:
            path, folderish = Path(entry.path), is_folder(entry)
            why = skipped_folder_reason(entry, scope) if folderish else _skipped_file_reason(entry, scope)
            if why:
                yield Skipped(scope.name(path), why)
            elif folderish:
                waiting.append(path)
            else:
                yield path


def skipped_folder_reason(entry: os.DirEntry[str], scope: ScanScope) -> str | None:
    """Why an entry that should be a folder is skipped, or None."""
    if reason := ignored_reason(entry.name):
        return reason
    if not entry.is_symlink():
        return None if is_folder(entry) else NO_FOLDER
    target = _target(entry)
    if target is None:
        return LEADS_NOWHERE
    if not target.is_dir():
        return NO_FOLDER
    if not scope.follow_links:
        return NOT_FOLLOWED
    if target.is_relative_to(scope.root):
        return "a link to a folder of this data, which is read where it lies"
    return "a link to a folder that this data lies in" if scope.root.is_relative_to(target) else None


def _skipped_file_reason(entry: os.DirEntry[str], scope: ScanScope) -> str | None:
    """Why a file is skipped, or None."""
    if reason := ignored_reason(entry.name):
        return reason
    if entry.is_symlink():
        target = _target(entry)
        if target is None:
            return LEADS_NOWHERE
        if not scope.follow_links and not target.is_relative_to(scope.root):
            return LEADS_OUT
    try:
        if not entry.is_file():
            return "neither a file nor a folder"
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    return None if is_sample(entry.name, scope.modality) else not_a_sample(scope.modality)


def _target(entry: os.DirEntry[str]) -> Path | None:
    """The final target of a link; None for a dangling, circular or forbidden one."""
    try:
        return Path(entry.path).resolve(strict=True)
    except (OSError, RuntimeError):  # a circle is a RuntimeError up to Python 3.12
        return None


def _first_time(folder: Path, seen: set[tuple[int, int]]) -> bool:
    try:
        status = folder.stat()
    except OSError:
        return True  # listing it will say why
    key = (status.st_dev, status.st_ino)
    first = key not in seen
    seen.add(key)
    return first
