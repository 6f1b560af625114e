"""Ways in: what ``data.source`` names -> a list of labelled image files, and what was passed over and why.

To add a kind of source, add a row to ``KINDS``: how it is recognised and how it is read. Whether a file that looks
like an image can be decoded is not asked here; the manifest finds that out and names it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graft.core.errors import DataError, did_you_mean
from graft.core.outputs import refuse_output
from graft.data.sources import builtin, folders, tables, tar_shards, torchvision_datasets
from graft.data.sources.label_pattern import suggestion
from graft.data.sources.records import Found
from graft.data.sources.scan import NO_FOLDER


@dataclass(frozen=True)
class Place:
    """What a source is read from, and how.

    Attributes:
        source: the text of ``data.source``.
        root: where relative paths start.
        scratch: a folder to write in.
        follow_links: read links that lead out of a folder.
        label_from: a regular expression that finds the label in a file's path; None: class folders say it.
    """

    source: str
    root: Path
    scratch: Path
    follow_links: bool = False
    label_from: str | None = None

    @property
    def path(self) -> Path:
        """The source as a path; a relative one starts at the workspace's root."""
        # os.path's, which leaves alone what pathlib's would raise at: the home of a user who is not there.
        return self.root / os.path.expanduser(self.source)  # noqa: PTH111

    def is_folder(self) -> bool:
        """Is there a folder of this name? Names that no file system takes are none."""
        try:
            return self.path.is_dir()
        except (OSError, ValueError):
            return False


@dataclass(frozen=True)
class Kind:
    """One kind of source.

    Attributes:
        name: for people.
        is_meant: is it this kind that a place names?
        read: lists its images, or raises.
        look: lists what could be read if all that can be mended were, and what that is.
    """

    name: str
    is_meant: Callable[[Place], bool]
    read: Callable[[Place], Found]
    look: Callable[[Place], Found]


def _read_digits(place: Place) -> Found:
    folder = place.scratch / builtin.NAME
    builtin.write_digits(folder)
    # Nothing of the user's to watch: what is built in changes with graft itself.
    return dataclasses.replace(folders.read_folder(folder), watched=None)


def _read_torchvision(place: Place) -> Found:
    return torchvision_datasets.read_set(place.source)


def _read_shards(place: Place) -> Found:
    return tar_shards.read_shards(place.path, place.follow_links, place.label_from)


def _read_folder(place: Place) -> Found:
    return folders.read_folder(place.path, place.follow_links, place.label_from)


KINDS = (
    Kind("digits", lambda place: place.source == builtin.NAME, _read_digits, _read_digits),
    Kind(
        "torchvision",
        lambda place: place.source.startswith(torchvision_datasets.PREFIX),
        _read_torchvision,
        _read_torchvision,
    ),
    Kind(
        "table",
        lambda place: place.path.suffix.lower() in tables.SUFFIXES and not place.is_folder(),
        lambda place: tables.read_table(place.path),
        lambda place: tables.look_at_table(place.path),
    ),
    Kind(
        "tar files", lambda place: place.is_folder() and tar_shards.holds_shards(place.path), _read_shards, _read_shards
    ),
    Kind("folder", Place.is_folder, _read_folder, _read_folder),
)


def find_images(
    source: str, root: Path, scratch: Path, follow_links: bool = False, label_from: str | None = None
) -> Found:
    """List the images of ``source``, sorted, so that the same data gives the same list on every machine.

    Args:
        source: the value of ``data.source``.
        root: where a relative path starts: the workspace's root.
        scratch: a folder on ``root``'s file system in which built-in data may be written.
        follow_links: the value of ``data.follow_links``: read links that lead out of a folder too.
        label_from: the value of ``data.label_from``: what finds the label in a file's path.

    Raises:
        DataError: there is no such source, it holds no image with a label, it contradicts itself, or it lies where
            graft writes.
    """
    place = Place(source, root, scratch, follow_links, label_from)
    _refuse_output(place)
    return _own(_some(kind_of(place).read(place), place), place)


def look_at_images(
    source: str, root: Path, scratch: Path, follow_links: bool = False, label_from: str | None = None
) -> Found:
    """Like :func:`find_images`, but what can be mended is a problem in the result, and no error."""
    place = Place(source, root, scratch, follow_links, label_from)
    _refuse_output(place)
    return _own(_some(kind_of(place).look(place), place), place)


def _refuse_output(place: Place) -> None:
    if place.source != builtin.NAME and not place.source.startswith(torchvision_datasets.PREFIX):
        refuse_output(place.path, place.root)


def _own(found: Found, place: Place) -> Found:
    """Refuse a table whose images lie where graft writes."""
    if found.table is not None:
        for folder in sorted({record.file.parent for record in found.records if isinstance(record.file, Path)}):
            refuse_output(folder, place.root)
        if found.watched is not None:
            refuse_output(found.watched, place.root)
    return found


def kind_of(place: Place) -> Kind:
    """Which kind of source is meant.

    Raises:
        DataError: none is.
    """
    for kind in KINDS:
        if kind.is_meant(place):
            if place.label_from is not None and not place.is_folder():
                raise DataError(
                    f"data.label_from is for folders and tar files, and a source of the kind {kind.name!r} says its "
                    "labels itself",
                    where=place.source,
                    remedy="set data.label_from to null",
                )
            return kind
    raise _no_such_source(place)


def _some(found: Found, place: Place) -> Found:
    if found.records:
        return found
    for problem in found.problems:
        if problem.severity == "critical" and not problem.met:
            raise tables.refusal(problem, place.path, mendable=False)
    raise _nothing(place, found)


def _nothing(place: Place, found: Found) -> DataError:
    why = "".join(f"\n    {item.path}: {item.why}" for item in found.skipped[:5])
    advice = suggestion(item.path for item in found.skipped if item.why == NO_FOLDER)
    return DataError(
        "there are no labelled images here" + (f"; passed over:{why}" if why else ""),
        where=place.path,
        remedy=(f"{advice}; or " if advice else "")
        + "data.source must hold a subfolder for each class with images (.jpg, .png, ...) in it",
    )


def _no_such_source(place: Place) -> DataError:
    try:
        present = place.path.exists()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return DataError(f"the source cannot be opened: {reason}", where=place.path, remedy="mend its name")
    if present:
        return DataError(
            "this file is not a kind of source that graft reads",
            where=place.path,
            remedy=f"name a folder, or a table ending in {' or '.join(sorted(tables.SUFFIXES))}",
        )
    parent = place.path.parent
    try:
        siblings = {item.name for item in parent.iterdir()} if parent.is_dir() else set()
    except OSError:
        siblings = set()
    hint = did_you_mean(place.path.name, siblings | {builtin.NAME})
    return DataError(
        "there is no such folder or table",
        where=place.path,
        remedy=f"name what is there (data.source, or the command's argument); {hint}",
    )
