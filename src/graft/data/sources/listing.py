"""A source as the settings name it, and what every kind of source yields: labelled samples, and skipped files."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from graft.core.packed_files import StoredFile
from graft.core.settings import Data
from graft.data.sources.tables.problems import TableProblem
from graft.modalities.base import Modality
from graft.modalities.registry import DEFAULT, find_modality

Key = TypeVar("Key")

_DEBRIS = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin"})

# What people call the parts of a divided data set; training and the others are written in lower case here.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class SourceSpec:
    """A source and the settings to read it with.

    Attributes:
        source: the text of ``data.source``.
        root: where relative paths start.
        scratch: a folder in which built-in data may be written; on the file system of ``root``, if it is to be cloned.
        follow_links: read links that lead out of a folder.
        label_from: a regular expression that finds the label in a file's path; None: class folders say it.
        modality: what kind of file is looked for.
    """

    source: str
    root: Path
    scratch: Path
    follow_links: bool = False
    label_from: str | None = None
    modality: Modality = DEFAULT

    @classmethod
    def from_settings(cls, data: Data, root: Path, scratch: Path) -> SourceSpec:
        """``data.source``, as the other keys of ``data`` say."""
        return cls(data.source, root, scratch, data.follow_links, data.label_from, find_modality(data.modality))

    @property
    def path(self) -> Path:
        """The source as a path; a relative one starts at the workspace's root."""
        # os.path's, which leaves alone what pathlib's would raise at: the home of a user who is not there.
        return self.root / os.path.expanduser(self.source)  # noqa: PTH111

    def is_folder(self) -> bool:
        """Whether the source is a folder; names that no file system takes are not."""
        try:
            return self.path.is_dir()
        except (OSError, ValueError):
            return False


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled file of a source.

    Attributes:
        file: where it lies now, perhaps in a tar file.
        source: its path as the user knows it, for messages: relative to the source, with ``/``, printable.
        label: its class.
        split: ``train`` or ``test`` where the source says so, else None.
        group: the user's group (a patient, a video, ...) where the source says so, else None.
        facts: what else the source says of it, column and value; the evaluation looks for weak slices among these.
    """

    file: StoredFile
    source: str
    label: str
    split: str | None = None
    group: str | None = None
    facts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder of the source that is not used, and why."""

    path: str
    why: str


@dataclass(frozen=True)
class SourceListing:
    """The samples of a source.

    Attributes:
        samples: the images, sorted by ``source``.
        skipped: what was passed over, sorted.
        watched: the folder that changes when the images do, if there is one.
        table: the table that lists them, if there is one.
        linked: a folder that was read through a link out of ``watched``, if there is one.
        problems: every rule of a table, and the changes that it asks for.
        rows: a table's rows in its own order, each with its split in the table's own words.
    """

    samples: tuple[Sample, ...]
    skipped: tuple[Skipped, ...] = ()
    watched: Path | None = None
    table: Path | None = None
    linked: Path | None = None
    problems: tuple[TableProblem, ...] = ()
    rows: tuple[tuple[Sample, str], ...] = ()


def in_order(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    """Samples by their paths, so that the same data gives the same list on every machine."""
    return tuple(sorted(samples, key=lambda sample: sample.source))


def effective_splits(given: Mapping[Key, str]) -> dict[Key, str | None]:
    """``train``, ``val`` or ``test`` as given -> ``train`` or ``test``: val is the test where there is no other.

    None where only one of them is named, which divides nothing.
    """
    names = set(given.values())
    if len(names) < 2:
        return dict.fromkeys(given)
    val = "train" if "test" in names else "test"
    return {key: val if name == "val" else name for key, name in given.items()}


def ignored_reason(name: str) -> str | None:
    """Why files and folders of this name are ignored, or None."""
    if name.startswith("."):
        return "hidden"
    if name.lower() in _DEBRIS:
        return "left by a file manager or archiver"
    return None if is_utf8(name) else "its name is not valid UTF-8"


def is_utf8(name: str) -> bool:
    """Whether the name is valid UTF-8; others hold surrogate escapes."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def counted(count: int, thing: str) -> str:
    """``1 image``, ``12 images``."""
    return f"{count} {thing}" + ("" if count == 1 else "s")


def printable(name: str) -> str:
    """A path with control characters and invalid UTF-8 escaped, for messages and tables."""
    name = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) == "Cc" else char for char in name
    )
