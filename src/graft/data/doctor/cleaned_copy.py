"""A cleaned copy of a source as a table, and beside it a log of every change; the original is never touched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from graft.core.errors import DataError
from graft.core.files import atomic_file
from graft.core.packed_files import PackedFile, StoredFile
from graft.data.protected_paths import refuse_output
from graft.data.sources.listing import Sample, SourceListing
from graft.data.sources.tables.reader import SUFFIXES

LOG_COLUMNS = ("row", "path", "column", "before", "after", "check", "why")


@dataclass(frozen=True)
class CleanedCopy:
    """What was written: the copy, and the log of its changes; with the number of images kept, of images or rows in the
    original, and of changes in the log."""

    table: Path
    log: Path
    kept: int
    total: int
    changes: int


def change_log_path(out: Path) -> Path:
    """Where the log of a cleaned copy lies: ``clean.csv`` -> ``clean.changes.csv``."""
    return out.with_suffix(".changes.csv")


def check_output(out: Path) -> None:
    """Refuse, before any work, what could not be written or would be written over.

    Raises:
        DataError: not a table's name, a place where graft writes, or the copy or its log is there already.
    """
    if out.suffix.lower() not in SUFFIXES:
        raise DataError(
            "the cleaned copy is a table, and this is no table's name",
            where=out,
            remedy=f"give --fix a name that ends in {' or '.join(sorted(SUFFIXES))}",
        )
    refuse_output(out, Path.cwd())
    for path in (out, change_log_path(out)):
        if os.path.lexists(path):
            raise DataError("this is already there, and is not written over", where=path, remedy="give another name")


def write_cleaned_copy(found: SourceListing, unfit: Mapping[StoredFile, str], out: Path) -> CleanedCopy:
    """Write what a source lists, every change of its problems made, as a table ``out`` without what is ``unfit``.

    Paths in it are relative to its folder. Beside it the log names what was changed and left out, and why.

    Raises:
        DataError: the target is there already or cannot be written, or nothing of the user's is there to clean.
    """
    import pandas as pd

    check_output(out)
    _refuse_unnamable(found, out)
    rows = found.rows or tuple((sample, sample.split or "") for sample in found.samples)
    kept = [(sample, split) for sample, split in rows if sample.file not in unfit]
    log = pd.DataFrame(_log(found, unfit), columns=list(LOG_COLUMNS)).astype({"row": "Int64"})
    table = pd.DataFrame(_columns(kept, out))
    try:
        with atomic_file(change_log_path(out)) as beside:
            log.to_csv(beside, index=False)
        with atomic_file(out) as beside:
            if out.suffix.lower() == ".csv":
                table.to_csv(beside, index=False)
            else:
                table.to_parquet(beside, index=False)
    except OSError as error:
        change_log_path(out).unlink(missing_ok=True)
        raise DataError(
            f"the cleaned copy cannot be written: {error.strerror or error}",
            where=out,
            remedy="name a place that may be written and has space left",
        ) from None
    dropped = sum(change.row > 0 and change.after is None for problem in found.problems for change in problem.changes)
    return CleanedCopy(out, change_log_path(out), len(kept), len(rows) + dropped, len(log))


def _refuse_unnamable(found: SourceListing, out: Path) -> None:
    if found.watched is None:
        what = "this data is graft's or torchvision's own, so there is nothing to clean"
        raise DataError(what, where=out, remedy="--fix is for folders and tables")
    if any(isinstance(sample.file, PackedFile) for sample in found.samples):
        what = "these images lie in tar files, which a table cannot name"
        raise DataError(what, where=out, remedy="unpack them into a folder, and clean that")


def _columns(kept: list[tuple[Sample, str]], out: Path) -> dict[str, list[str]]:
    """The columns to write; split and group only where a row has one, and then the user's own."""
    home = os.path.realpath(out.parent)
    columns = {
        "path": [_relative(sample.file, home) for sample, _ in kept if isinstance(sample.file, Path)],
        "label": [sample.label for sample, _ in kept],
        "split": [split for _, split in kept],
        "group": [sample.group or "" for sample, _ in kept],
    }
    read = {name: values for name, values in columns.items() if name in {"path", "label"} or any(values)}
    facts = [dict(sample.facts) for sample, _ in kept]
    names = list(dict.fromkeys(name for each in facts for name in each))
    return read | {name: [each.get(name, "") for each in facts] for name in names}


def _relative(file: Path, home: str) -> str:
    """``file`` as seen from ``home``. Folders on the way are resolved, since ``..`` does not lead back through a link;
    a file that is itself a link keeps its own name."""
    real = Path(os.path.realpath(file.parent)) / file.name
    return Path(os.path.relpath(real, home)).as_posix()


def _log(found: SourceListing, unfit: Mapping[StoredFile, str]) -> list[tuple[object, ...]]:
    """A line for every change, for every file left out, and for what was passed over to begin with."""
    lines: list[tuple[object, ...]] = []
    for problem in found.problems:
        for change in problem.changes:
            after = "left out" if change.after is None else change.after
            where = (change.row, change.path, change.column or None, change.before or None)
            lines.append((*where, after, problem.check, change.why))
    named = {sample.file: sample.source for sample in found.samples}
    lines += [(None, named[file], None, None, "left out", "image", why) for file, why in unfit.items()]
    return lines + [(None, item.path, None, None, "left out", "passed_over", item.why) for item in found.skipped]
