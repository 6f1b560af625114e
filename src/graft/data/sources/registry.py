"""The kinds of ``data.source``, and the functions that list a source's samples.

To add a kind of source, add a row to ``READERS``: how it is recognised and how it is read. Whether a file that looks
like an image can be decoded is not asked here; the manifest finds that out and names it.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graft.core.errors import DataError, did_you_mean
from graft.core.settings import Data
from graft.data.protected_paths import refuse_output
from graft.data.sources import builtin, folders, tar_files, torchvision_datasets
from graft.data.sources.label_pattern import suggest_pattern
from graft.data.sources.listing import SourceListing
from graft.data.sources.scan import NO_FOLDER
from graft.data.sources.tables import reader as tables
from graft.modalities.base import Modality
from graft.modalities.registry import DEFAULT, find_modality


@dataclass(frozen=True)
class SourceSpec:
    """A source and the settings to read it with.

    Attributes:
        source: the text of ``data.source``.
        root: where relative paths start.
        scratch: a folder to write in.
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


@dataclass(frozen=True)
class SourceReader:
    """A kind of source.

    Attributes:
        name: for people.
        matches: whether it reads a given source.
        read: lists its images, or raises.
        audit: like ``read``, with problems that can be fixed in the result instead of an error.
    """

    name: str
    matches: Callable[[SourceSpec], bool]
    read: Callable[[SourceSpec], SourceListing]
    audit: Callable[[SourceSpec], SourceListing]


def _read_digits(spec: SourceSpec) -> SourceListing:
    folder = spec.scratch / builtin.NAME
    builtin.write_digits(folder)
    # Nothing of the user's to watch: what is built in changes with graft itself.
    return dataclasses.replace(folders.read_folder(folder, modality=spec.modality), watched=None)


def _read_torchvision(spec: SourceSpec) -> SourceListing:
    return torchvision_datasets.read_dataset(spec.source)


def _read_tar_files(spec: SourceSpec) -> SourceListing:
    return tar_files.read_tar_files(spec.path, spec.follow_links, spec.label_from, spec.modality)


def _read_folder(spec: SourceSpec) -> SourceListing:
    return folders.read_folder(spec.path, spec.follow_links, spec.label_from, spec.modality)


READERS = (
    SourceReader("digits", lambda spec: spec.source == builtin.NAME, _read_digits, _read_digits),
    SourceReader(
        "torchvision",
        lambda spec: spec.source.startswith(torchvision_datasets.PREFIX),
        _read_torchvision,
        _read_torchvision,
    ),
    SourceReader(
        "table",
        lambda spec: spec.path.suffix.lower() in tables.SUFFIXES and not spec.is_folder(),
        lambda spec: tables.read_table(spec.path),
        lambda spec: tables.audit_table(spec.path),
    ),
    SourceReader(
        "tar files",
        lambda spec: spec.is_folder() and tar_files.has_tar_files(spec.path),
        _read_tar_files,
        _read_tar_files,
    ),
    SourceReader("folder", SourceSpec.is_folder, _read_folder, _read_folder),
)


def list_source(
    source: str,
    root: Path,
    scratch: Path,
    follow_links: bool = False,
    label_from: str | None = None,
    modality: Modality = DEFAULT,
) -> SourceListing:
    """List the images of ``source``, sorted, so that the same data gives the same list on every machine.

    Args:
        source: the value of ``data.source``.
        root: where a relative path starts: the workspace's root.
        scratch: a folder on ``root``'s file system in which built-in data may be written.
        modality: that of ``data.modality``: what kind of file is looked for.
        follow_links: the value of ``data.follow_links``: read links that lead out of a folder too.
        label_from: the value of ``data.label_from``: what finds the label in a file's path.

    Raises:
        DataError: there is no such source, it holds no image with a label, it contradicts itself, or it lies where
            graft writes.
    """
    spec = SourceSpec(source, root, scratch, follow_links, label_from, modality)
    _refuse_output(spec)
    return _check_table_folders(_require_samples(reader_for(spec).read(spec), spec), spec)


def list_data_source(data: Data, root: Path, scratch: Path) -> SourceListing:
    """:func:`list_source` of ``data.source``, as the other keys of ``data`` say."""
    modality = find_modality(data.modality)
    return list_source(data.source, root, scratch, data.follow_links, data.label_from, modality)


def audit_source(
    source: str,
    root: Path,
    scratch: Path,
    follow_links: bool = False,
    label_from: str | None = None,
    modality: Modality = DEFAULT,
) -> SourceListing:
    """Like :func:`list_source`, but problems that ``graft doctor --fix`` fixes are returned instead of raised."""
    spec = SourceSpec(source, root, scratch, follow_links, label_from, modality)
    _refuse_output(spec)
    return _check_table_folders(_require_samples(reader_for(spec).audit(spec), spec), spec)


def _refuse_output(spec: SourceSpec) -> None:
    if spec.source != builtin.NAME and not spec.source.startswith(torchvision_datasets.PREFIX):
        refuse_output(spec.path, spec.root)


def _check_table_folders(found: SourceListing, spec: SourceSpec) -> SourceListing:
    """Refuse a table whose images lie where graft writes."""
    if found.table is not None:
        for folder in sorted({sample.file.parent for sample in found.samples if isinstance(sample.file, Path)}):
            refuse_output(folder, spec.root)
        if found.watched is not None:
            refuse_output(found.watched, spec.root)
    return found


def reader_for(spec: SourceSpec) -> SourceReader:
    """The reader of a source.

    Raises:
        DataError: none is.
    """
    for reader in READERS:
        if reader.matches(spec):
            if spec.label_from is not None and not spec.is_folder():
                raise DataError(
                    f"data.label_from is for folders and tar files, and a source of the kind {reader.name!r} says its "
                    "labels itself",
                    where=spec.source,
                    remedy="set data.label_from to null",
                )
            return reader
    raise _unknown_source_error(spec)


def _require_samples(found: SourceListing, spec: SourceSpec) -> SourceListing:
    if found.samples:
        return found
    for problem in found.problems:
        if problem.severity == "critical" and not problem.met:
            raise tables.table_error(problem, spec.path, mendable=False)
    raise _no_samples_error(spec, found)


def _no_samples_error(spec: SourceSpec, found: SourceListing) -> DataError:
    why = "".join(f"\n    {item.path}: {item.why}" for item in found.skipped[:5])
    advice = suggest_pattern(item.path for item in found.skipped if item.why == NO_FOLDER)
    return DataError(
        "there are no labelled images here" + (f"; passed over:{why}" if why else ""),
        where=spec.path,
        remedy=(f"{advice}; or " if advice else "")
        + "data.source must hold a subfolder for each class with images (.jpg, .png, ...) in it",
    )


def _unknown_source_error(spec: SourceSpec) -> DataError:
    try:
        present = spec.path.exists()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return DataError(f"the source cannot be opened: {reason}", where=spec.path, remedy="mend its name")
    if present:
        return DataError(
            "this file is not a kind of source that graft reads",
            where=spec.path,
            remedy=f"name a folder, or a table ending in {' or '.join(sorted(tables.SUFFIXES))}",
        )
    parent = spec.path.parent
    try:
        siblings = {item.name for item in parent.iterdir()} if parent.is_dir() else set()
    except OSError:
        siblings = set()
    hint = did_you_mean(spec.path.name, siblings | {builtin.NAME})
    return DataError(
        "there is no such folder or table",
        where=spec.path,
        remedy=f"name what is there (data.source, or the command's argument); {hint}",
    )
