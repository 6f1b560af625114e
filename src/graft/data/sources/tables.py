"""A .csv or .parquet table: a row per image with path (relative to the table), label, and if wanted split, group.

Other columns are facts of the user's own, such as a camera: they are kept as text, for the evaluation's slices.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.errors import DataError, did_you_mean
from graft.data.sources.listing import (
    SPLIT_NAMES,
    Sample,
    SourceListing,
    TableChange,
    TableProblem,
    effective_split,
    printable,
)
from graft.data.sources.path_repair import foreign_path_advice
from graft.data.sources.spelling import is_file
from graft.data.sources.table_cleaning import TableDraft, check_rows
from graft.modalities.image.stats import OWN_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = frozenset({".csv", ".parquet"})
_NEEDED = ("path", "label")
_OPTIONAL = ("split", "group")
_KNOWN = (*_NEEDED, *_OPTIONAL)
# What else people call the columns.
_ALIASES = {
    "path": {"file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img_path"},
    "label": {"labels", "class", "class_name", "category", "target"},
}
_SEPARATORS = (";", "\t")
# How pandas calls a column without a name.
_NAMELESS = "Unnamed: "
# Columns that say by true and false which rows are of one part.
_OF_PART = re.compile(rf"(?:is|in|for)?[ _-]*({'|'.join(SPLIT_NAMES)})[ _-]*(?:set)?")
_TRUE, _FALSE = frozenset({"true", "1", "1.0", "yes"}), frozenset({"false", "0", "0.0", "no"})


def read_table(path: Path) -> SourceListing:
    """List the images of a table.

    Raises:
        DataError: there is no table, it cannot be read, a column is missing, or a rule of
            :mod:`graft.data.sources.table_cleaning` that is critical is not met; the message says how to get a cleaned
            copy.
    """
    draft, problems = _check(path)
    for problem in problems:
        if problem.severity == "critical" and not problem.met:
            raise table_error(problem, path, mendable=bool(draft.kept))
    return _listing(draft, path, problems)


def audit_table(path: Path) -> SourceListing:
    """List the images that a cleaned copy of the table would list, and every problem with its changes.

    Raises:
        DataError: there is no table, it cannot be read, or a column is missing that no other looks like.
    """
    draft, problems = _check(path)
    return _listing(draft, path, problems)


def _check(path: Path) -> tuple[TableDraft, tuple[TableProblem, ...]]:
    """The table as a cleaned copy would be, and every rule with the changes it asks for."""
    table, separated = _load(path)
    heading = _heading([str(name) for name in table.columns], path)
    division = None if _has("split", table, heading) else _find_split_column(table, heading)
    unknown = _unknown([str(name) for name in table.columns], heading)
    table = table.rename(columns={change.before: change.after for change in heading})
    if division is not None:
        table[division.column] = table[division.column].map(division.split_of)
        table = table.rename(columns={division.column: "split"})
    facts = tuple(str(name) for name in table.columns if str(name) not in _KNOWN and _is_fact(str(name)))
    columns = {name: table[name].tolist() for name in (*_KNOWN, *facts) if name in table}
    draft = TableDraft(path.parent, columns, facts=facts)
    heading_problems = (
        _heading_problem((*separated, *heading)),
        _split_column_problem(division),
        _unknown_problem(unknown),
    )
    return draft, (*heading_problems, *check_rows(draft), _train_problem(draft))


def _listing(draft: TableDraft, path: Path, problems: tuple[TableProblem, ...]) -> SourceListing:
    splits = _splits(draft)
    groups = draft.columns.get("group")
    samples = [
        Sample(
            draft.file(row),
            printable(draft.columns["path"][row]),
            draft.columns["label"][row],
            splits.get(row),
            (groups[row] or None) if groups else None,
            tuple((name, printable(draft.columns[name][row])) for name in draft.facts),
        )
        for row in draft.kept
    ]
    return SourceListing(
        tuple(sorted(samples, key=lambda sample: sample.source)),
        watched=_common_folder([sample.file for sample in samples if isinstance(sample.file, Path)], path.parent),
        table=path.resolve(),
        problems=problems,
        rows=tuple((sample, draft.columns["split"][row]) for sample, row in zip(samples, draft.kept, strict=True))
        if "split" in draft.columns
        else tuple((sample, "") for sample in samples),
    )


def table_error(problem: TableProblem, path: Path, mendable: bool) -> DataError:
    """Why a table is refused; ``mendable``: a cleaned copy of it would still list images."""
    named = [change.named() for change in problem.changes]
    more = f" and {len(named) - 5} more" if len(named) > 5 else ""
    hints = dict.fromkeys(
        change.why if change.after is not None else foreign_path_advice(change.path)
        for change in problem.changes
        if problem.check == "file_there"
    )
    fix = f"`graft doctor {shlex.quote(str(path))} --fix OUT{path.suffix}` writes a cleaned copy"
    said = (problem.remedy, *hints, None if problem.by_hand or not mendable else fix)
    return DataError(
        f"{problem.what}: {', '.join(named[:5])}{more}" if named else problem.what,
        where=path,
        remedy="; ".join(filter(None, said)),
    )


def _load(path: Path) -> tuple[pd.DataFrame, tuple[TableChange, ...]]:
    """The table with text in the columns that are read, and the change where it is not separated by commas."""
    import pandas as pd

    # Asked before it is opened: opening a pipe would wait for ever.
    if not is_file(path):
        raise DataError("there is no such table", where=path, remedy="set data.source to the path of a file")
    try:
        if path.suffix.lower() == ".csv":
            return _read_csv(path)
        return _as_text(pd.read_parquet(path)), ()
    except pd.errors.EmptyDataError:
        raise DataError("the table is empty", where=path, remedy="it needs the columns path and label") from None
    except Exception as error:  # parsers of both formats raise many kinds
        raise DataError(f"the table cannot be read: {error}", where=path, remedy="save it again as UTF-8 CSV") from None


def _read_csv(path: Path) -> tuple[pd.DataFrame, tuple[TableChange, ...]]:
    import pandas as pd

    # utf-8-sig: spreadsheets put a byte-order mark before the first column's name.
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
    separator = next((char for char in _SEPARATORS if char in first and "," not in first), ",")
    table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    table = _without_empty_ends(table)
    if separator == ",":
        return table, ()
    return table, (TableChange(0, "", "", separator, ",", "columns are separated by commas"),)


def _without_empty_ends(table: pd.DataFrame) -> pd.DataFrame:
    """The table without the nameless, empty columns that a comma at the end of lines makes.

    Where only the rows have it, pandas takes their first values for the names of the rows, and shifts all others.
    """
    import pandas as pd

    names = list(table.columns)
    if not isinstance(table.index, pd.RangeIndex):
        nameless = [f"{_NAMELESS}{len(names) + more}" for more in range(table.index.nlevels)]
        table = table.reset_index().set_axis([*names, *nameless], axis=1)
        if (table[nameless] != "").to_numpy().any():
            raise ValueError(f"its rows hold {len(table.columns)} values, and its heading names {len(names)} columns")
    empty = [name for name in table.columns if str(name).startswith(_NAMELESS) and (table[name] == "").all()]
    return table.drop(columns=empty)


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers as labels are common; missing values become empty text, as they are in a .csv."""
    import pandas as pd

    text = {str(name): ["" if _missing(value) else str(value) for value in table[name]] for name in table.columns}
    return pd.DataFrame(text)


def _missing(value: object) -> bool:
    return value is None or bool(value != value)


def _heading(names: list[str], path: Path) -> tuple[TableChange, ...]:
    """The columns to rename: those that stand where a known one is missing."""
    changes: list[TableChange] = []
    for known in _KNOWN:
        if known in names:
            continue
        taken = {change.before for change in changes}
        likely = _likely(known, [name for name in names if name not in _KNOWN and name not in taken])
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
    """The column that is meant by ``known``, if one is."""
    plain = {name.strip().lower(): name for name in reversed(names)}
    for alias in (known, *sorted(_ALIASES.get(known, ()))):
        if alias in plain:
            return plain[alias]
    near = difflib.get_close_matches(known, plain, n=1, cutoff=0.75)
    return plain[near[0]] if near else None


@dataclass(frozen=True)
class _SplitColumn:
    """A column by another name that says which rows are trained on and which tested.

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


def _has(known: str, table: pd.DataFrame, heading: tuple[TableChange, ...]) -> bool:
    return known in table or known in {change.after for change in heading}


def _find_split_column(table: pd.DataFrame, heading: tuple[TableChange, ...]) -> _SplitColumn | None:
    """The column that, by its values, must be meant as the split; None where there is none."""
    renamed = {change.before for change in heading}
    for name in map(str, table.columns):
        if name in _KNOWN or name in renamed:
            continue
        values = {value.strip().lower() for value in table[name].unique()} - {""}
        parts = {SPLIT_NAMES.get(value) for value in values}
        if None not in parts and "train" in parts and len(parts) > 1:
            return _SplitColumn(name)
        part = _OF_PART.fullmatch(name.strip().lower())
        if part and values & _TRUE and values & _FALSE and values <= _TRUE | _FALSE:
            return _SplitColumn(name, SPLIT_NAMES[part[1]])
    return None


def _split_column_problem(division: _SplitColumn | None) -> TableProblem:
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


def _is_fact(name: str) -> bool:
    """Whether a column may be kept beside those that graft writes itself."""
    return bool(name.strip()) and name not in OWN_COLUMNS


def _unknown(names: list[str], heading: tuple[TableChange, ...]) -> tuple[TableChange, ...]:
    renamed = {change.before for change in heading}
    return tuple(
        TableChange(0, "", "heading", name, None, "graft has a column of this name itself and does not read this one")
        for name in names
        if name not in _KNOWN and name not in renamed and not _is_fact(name)
    )


def _heading_problem(changes: tuple[TableChange, ...]) -> TableProblem:
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


def _unknown_problem(changes: tuple[TableChange, ...]) -> TableProblem:
    return TableProblem(
        "known_columns",
        "warning",
        "every column is path, label, split, group, or a fact with a name of its own",
        f"{len(changes)} columns are not read",
        "nothing has to be done: they change nothing",
        changes,
    )


def _train_problem(draft: TableDraft) -> TableProblem:
    names = _given(draft).values()
    return TableProblem(
        "train_rows",
        "critical",
        "some rows are to be trained on",
        "no row of the table has the split 'train'",
        "mark the rows to train on",
        by_hand=bool(names) and "train" not in names,
    )


def _given(draft: TableDraft) -> dict[int, str]:
    """``train``, ``val`` or ``test`` for every row; empty where the table does not say."""
    given = draft.columns.get("split")
    if given is None or not any(given[row].strip() for row in draft.kept):
        return {}
    return {row: SPLIT_NAMES[given[row].strip().lower()] for row in draft.kept}


def _splits(draft: TableDraft) -> dict[int, str]:
    """``train`` or ``test`` for every row; empty where the table does not say, or says only one."""
    names = _given(draft)
    if len(set(names.values())) < 2:
        return {}
    has_test = "test" in names.values()
    return {row: effective_split(name, has_test) for row, name in names.items()}


def _common_folder(files: list[Path], home: Path) -> Path:
    """The deepest folder that holds every image."""
    if not files:
        return home.resolve()
    return Path(os.path.commonpath([os.path.abspath(file.parent) for file in files]))  # noqa: PTH100 - not resolved
