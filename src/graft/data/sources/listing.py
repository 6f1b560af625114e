"""What every source yields: labelled samples, and the files that were skipped."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path

from graft.core.packed_files import StoredFile
from graft.data.sources.tables.problems import TableProblem

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


def effective_split(given: str, has_test: bool) -> str:
    """``train``, ``val`` or ``test`` as given -> ``train`` or ``test``: val is the test where there is no other."""
    if given == "val":
        return "train" if has_test else "test"
    return given


def ignored_reason(name: str) -> str | None:
    """Why files and folders of this name are ignored, or None."""
    if name.startswith("."):
        return "hidden"
    if name.lower() in _DEBRIS:
        return "left by a file manager or archiver"
    if not is_utf8(name):
        return "its name is not valid UTF-8"
    return None


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
