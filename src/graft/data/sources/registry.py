"""The kinds of ``data.source``, and the functions that list a source's samples.

To add a kind of source, add a row to ``READERS``: how it is recognised and how it is read. Whether a file that looks
like an image can be decoded is not asked here; the manifest finds that out and names it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from graft.core.errors import DataError, did_you_mean
from graft.data.protected_paths import refuse_output
from graft.data.sources import digits, folders, tar_files, torchvision_datasets
from graft.data.sources.labels import suggest_pattern
from graft.data.sources.listing import SourceListing, SourceSpec
from graft.data.sources.scan import NO_FOLDER
from graft.data.sources.tables import reader as tables


@dataclass(frozen=True)
class SourceReader:
    """A kind of source: its name for people, whether it reads a given one, and the function that lists the samples."""

    name: str
    matches: Callable[[SourceSpec], bool]
    read: Callable[[SourceSpec], SourceListing]


def _read_digits(spec: SourceSpec) -> SourceListing:
    folder = spec.scratch / digits.NAME
    digits.write_digits(folder)
    # Nothing of the user's to watch: what is built in changes with graft itself.
    return dataclasses.replace(folders.read_folder(dataclasses.replace(spec, source=str(folder))), watched=None)


READERS = (
    SourceReader("digits", lambda spec: spec.source == digits.NAME, _read_digits),
    SourceReader(
        "torchvision",
        lambda spec: spec.source.startswith(torchvision_datasets.PREFIX),
        lambda spec: torchvision_datasets.read_dataset(spec.source),
    ),
    SourceReader(
        "table",
        lambda spec: spec.path.suffix.lower() in tables.SUFFIXES and not spec.is_folder(),
        lambda spec: tables.read_table(spec.path),
    ),
    SourceReader(
        "tar files",
        lambda spec: spec.is_folder() and tar_files.has_tar_files(spec.path),
        tar_files.read_tar_files,
    ),
    SourceReader("folder", SourceSpec.is_folder, folders.read_folder),
)


def list_source(spec: SourceSpec) -> SourceListing:
    """List the samples of a source, sorted, so that the same data gives the same list on every machine.

    Raises:
        DataError: there is no such source, it holds no sample with a label, it contradicts itself, it is a table with
            critical problems (the message says how to get a cleaned copy), or it lies where graft writes.
    """
    found = audit_source(spec)
    _refuse_problems(found, spec)
    return found


def audit_source(spec: SourceSpec) -> SourceListing:
    """Like :func:`list_source`, but problems that ``graft doctor --fix`` fixes are returned instead of raised."""
    if spec.source != digits.NAME and not spec.source.startswith(torchvision_datasets.PREFIX):
        refuse_output(spec.path, spec.root)
    found = reader_for(spec).read(spec)
    if not found.samples:
        _refuse_problems(found, spec)
        raise _no_samples_error(spec, found)
    if found.table is not None:
        # Images of a table may lie anywhere, and so where graft writes.
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


def _refuse_problems(found: SourceListing, spec: SourceSpec) -> None:
    for problem in found.problems:
        if problem.severity == "critical" and not problem.met:
            raise problem.error(spec.path, mendable=bool(found.samples))


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
    try:
        siblings = {item.name for item in spec.path.parent.iterdir()}
    except OSError:
        siblings = set()
    hint = did_you_mean(spec.path.name, siblings | {digits.NAME})
    return DataError(
        "there is no such folder or table",
        where=spec.path,
        remedy=f"name what is there (data.source, or the command's argument); {hint}",
    )
