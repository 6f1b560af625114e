"""Recognise a table's columns: path, label, split and group by other names, and a split column by its values."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.errors import DataError, did_you_mean
from graft.data.sources.listing import SPLIT_NAMES
from graft.data.sources.tables.problems import TableChange, TableProblem
from graft.modalities.registry import reserved_columns

if TYPE_CHECKING:
    import pandas as pd

_NEEDED = ("path", "label")
KNOWN_COLUMNS = (*_NEEDED, "split", "group")
_ALIASES = {
    "path": {"file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img_path"},
    "label": {"labels", "class", "class_name", "category", "target"},
}
# Names of boolean split columns, such as is_valid or train_set.
_BOOLEAN_SPLIT = re.compile(rf"(?:is|in|for)?[ _-]*({'|'.join(SPLIT_NAMES)})[ _-]*(?:set)?")
_TRUE, _FALSE = frozenset({"true", "1", "1.0", "yes"}), frozenset({"false", "0", "0.0", "no"})


def column_renames(names: list[str], path: Path) -> tuple[TableChange, ...]:
    """Renames of columns that stand for a missing known one."""
    changes: list[TableChange] = []
    for known in KNOWN_COLUMNS:
        if known in names:
            continue
        taken = {change.before for change in changes}
        likely = _likely(known, [name for name in names if name not in KNOWN_COLUMNS and name not in taken])
        if likely is not None:
            changes.append(TableChange(0, "", "heading", likely, known, f"there is no column {known!r}"))
        elif known in _NEEDED:
            raise DataError(
                f"the table has no column {known!r}; its columns are: {', '.join(names)}",
                where=path,
                remedy=f"name the column {known!r}; {did_you_mean(known, names)}",
            )
    return tuple(changes)


def _likely(known: str, names: list[str]) -> str | None:
    """The column that probably means ``known``, or None."""
    plain = {name.strip().lower(): name for name in reversed(names)}
    for alias in (known, *sorted(_ALIASES.get(known, ()))):
        if alias in plain:
            return plain[alias]
    near = difflib.get_close_matches(known, plain, n=1, cutoff=0.75)
    return plain[near[0]] if near else None


@dataclass(frozen=True)
class SplitColumn:
    """A column of another name that holds the split.

    Attributes:
        column: its name.
        true: what its true values mean, and its false ones do not; None where it holds the words themselves.
    """

    column: str
    true: str | None = None

    @property
    def false(self) -> str:
        """What its false values mean."""
        return "test" if self.true == "train" else "train"

    def split_of(self, value: str) -> str:
        """A value as the column ``split`` would have it."""
        plain = value.strip().lower()
        if self.true is None or plain not in _TRUE | _FALSE:
            return value
        return self.true if plain in _TRUE else self.false


def has_column(known: str, table: pd.DataFrame, heading: tuple[TableChange, ...]) -> bool:
    return known in table or known in {change.after for change in heading}


def find_split_column(table: pd.DataFrame, heading: tuple[TableChange, ...]) -> SplitColumn | None:
    """The column whose values are splits, or None."""
    renamed = {change.before for change in heading}
    for name in map(str, table.columns):
        if name in KNOWN_COLUMNS or name in renamed:
            continue
        values = {value.strip().lower() for value in table[name].unique()} - {""}
        parts = {SPLIT_NAMES.get(value) for value in values}
        if None not in parts and "train" in parts and len(parts) > 1:
            return SplitColumn(name)
        part = _BOOLEAN_SPLIT.fullmatch(name.strip().lower())
        if part and values & _TRUE and values & _FALSE and values <= _TRUE | _FALSE:
            return SplitColumn(name, SPLIT_NAMES[part[1]])
    return None


def split_column_problem(division: SplitColumn | None) -> TableProblem:
    changes: tuple[TableChange, ...] = ()
    values = ""
    if division is not None:
        values = "" if division.true is None else f" with {division.true!r} for true and {division.false!r} for false"
        changes = (TableChange(0, "", "heading", division.column, "split", f"it says which rows are tested{values}"),)
    name = division.column if division is not None else ""
    return TableProblem(
        "split_column",
        "critical",
        "what says which rows are for training and which for testing is called split",
        f"the column {name!r} says which rows are for training, and is not called 'split'",
        f"rename {name!r} to 'split'{values}; or, if the images are to be divided anew, add an empty column 'split'",
        changes,
    )


def is_metadata(name: str) -> bool:
    """Whether a column can be kept as metadata: it has a name, and none of graft's own columns."""
    return bool(name.strip()) and name not in reserved_columns()


def unknown_columns(names: list[str], heading: tuple[TableChange, ...]) -> tuple[TableChange, ...]:
    renamed = {change.before for change in heading}
    return tuple(
        TableChange(0, "", "heading", name, None, "graft has a column of this name itself and does not read this one")
        for name in names
        if name not in KNOWN_COLUMNS and name not in renamed and not is_metadata(name)
    )


def heading_problem(changes: tuple[TableChange, ...]) -> TableProblem:
    asked = " and ".join(repr(change.after) for change in changes if change.column == "heading")
    return TableProblem(
        "columns",
        "critical",
        "the columns are called path, label, and if wanted split and group",
        f"the table has no column {asked}" if asked else "the table's columns are not separated by commas",
        _renaming(changes) if asked else "save it with commas",
        changes,
    )


def _renaming(changes: tuple[TableChange, ...]) -> str:
    return "rename " + " and ".join(f"{change.before!r} to {change.after!r}" for change in changes if change.column)


def unknown_problem(changes: tuple[TableChange, ...]) -> TableProblem:
    return TableProblem(
        "known_columns",
        "warning",
        "every column is path, label, split, group, or a fact with a name of its own",
        f"{len(changes)} columns are not read",
        "nothing has to be done: they change nothing",
        changes,
    )
