"""A .csv or .parquet table: a row per image with path (relative to the table), label, and if wanted split, group.

Other columns are facts of the user's own, such as a camera: they are kept as text, for the evaluation's slices.
"""

from __future__ import annotations

import difflib
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from graft.errors import DataError, did_you_mean
from graft.images.cleaning import Draft, check_rows
from graft.images.facts import OWN_COLUMNS
from graft.images.records import SPLIT_NAMES, Change, Found, Problem, Record, honoured_split, printable
from graft.images.spelling import is_file

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


def read_table(path: Path) -> Found:
    """List the images of a table.

    Raises:
        DataError: there is no table, it cannot be read, a column is missing, or a rule of
            :mod:`graft.images.cleaning` that is critical is not met; the message says how to get a cleaned copy.
    """
    draft, problems = _check(path)
    for problem in problems:
        if problem.severity == "critical" and not problem.met:
            raise _refusal(problem, path)
    return _found(draft, path, problems)


def look_at_table(path: Path) -> Found:
    """List the images that a cleaned copy of the table would list, and every problem with its changes.

    Raises:
        DataError: there is no table, it cannot be read, or a column is missing that no other looks like.
    """
    draft, problems = _check(path)
    return _found(draft, path, problems)


def _check(path: Path) -> tuple[Draft, tuple[Problem, ...]]:
    """The table as a cleaned copy would be, and every rule with the changes it asks for."""
    table, separated = _load(path)
    heading = _heading([str(name) for name in table.columns], path)
    unknown = _unknown([str(name) for name in table.columns], heading)
    table = table.rename(columns={change.before: change.after for change in heading})
    facts = tuple(str(name) for name in table.columns if str(name) not in _KNOWN and _is_fact(str(name)))
    columns = {name: table[name].tolist() for name in (*_KNOWN, *facts) if name in table}
    draft = Draft(path.parent, columns, facts=facts)
    heading_problems = _heading_problem((*separated, *heading)), _unknown_problem(unknown)
    return draft, (*heading_problems, *check_rows(draft), _train_problem(draft))


def _found(draft: Draft, path: Path, problems: tuple[Problem, ...]) -> Found:
    splits = _splits(draft)
    groups = draft.columns.get("group")
    records = [
        Record(
            draft.file(row),
            printable(draft.columns["path"][row]),
            draft.columns["label"][row],
            splits.get(row),
            (groups[row] or None) if groups else None,
            tuple((name, printable(draft.columns[name][row])) for name in draft.facts),
        )
        for row in draft.kept
    ]
    return Found(
        tuple(sorted(records, key=lambda record: record.source)),
        watched=_common_folder([record.file for record in records if isinstance(record.file, Path)], path.parent),
        table=path.resolve(),
        problems=problems,
        rows=tuple((record, draft.columns["split"][row]) for record, row in zip(records, draft.kept, strict=True))
        if "split" in draft.columns
        else tuple((record, "") for record in records),
    )


def _refusal(problem: Problem, path: Path) -> DataError:
    named = [change.named() for change in problem.changes]
    more = f" and {len(named) - 5} more" if len(named) > 5 else ""
    fix = f"; `graft doctor {shlex.quote(str(path))} --fix OUT{path.suffix}` writes a cleaned copy"
    return DataError(
        f"{problem.what}: {', '.join(named[:5])}{more}" if named else problem.what,
        where=path,
        remedy=problem.remedy + ("" if problem.by_hand else fix),
    )


def _load(path: Path) -> tuple[pd.DataFrame, tuple[Change, ...]]:
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


def _read_csv(path: Path) -> tuple[pd.DataFrame, tuple[Change, ...]]:
    import pandas as pd

    # utf-8-sig: spreadsheets put a byte-order mark before the first column's name.
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
    separator = next((char for char in _SEPARATORS if char in first and "," not in first), ",")
    table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    if separator == ",":
        return table, ()
    return table, (Change(0, "", "", separator, ",", "columns are separated by commas"),)


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers as labels are common; missing values become empty text, as they are in a .csv."""
    import pandas as pd

    text = {str(name): ["" if _missing(value) else str(value) for value in table[name]] for name in table.columns}
    return pd.DataFrame(text)


def _missing(value: object) -> bool:
    return value is None or bool(value != value)


def _heading(names: list[str], path: Path) -> tuple[Change, ...]:
    """The columns to rename: those that stand where a known one is missing."""
    changes: list[Change] = []
    for known in _KNOWN:
        if known in names:
            continue
        taken = {change.before for change in changes}
        likely = _likely(known, [name for name in names if name not in _KNOWN and name not in taken])
        if likely is not None:
            changes.append(Change(0, "", "heading", likely, known, f"there is no column {known!r}"))
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


def _is_fact(name: str) -> bool:
    """Whether a column may be kept beside those that graft writes itself."""
    return bool(name.strip()) and name not in OWN_COLUMNS


def _unknown(names: list[str], heading: tuple[Change, ...]) -> tuple[Change, ...]:
    renamed = {change.before for change in heading}
    return tuple(
        Change(0, "", "heading", name, None, "graft has a column of this name itself and does not read this one")
        for name in names
        if name not in _KNOWN and name not in renamed and not _is_fact(name)
    )


def _heading_problem(changes: tuple[Change, ...]) -> Problem:
    asked = " and ".join(repr(change.after) for change in changes if change.column == "heading")
    return Problem(
        "columns",
        "critical",
        "the columns are called path, label, and if wanted split and group",
        f"the table has no column {asked}" if asked else "the table's columns are not separated by commas",
        _renaming(changes) if asked else "save it with commas",
        changes,
    )


def _renaming(changes: tuple[Change, ...]) -> str:
    return "rename " + " and ".join(f"{change.before!r} to {change.after!r}" for change in changes if change.column)


def _unknown_problem(changes: tuple[Change, ...]) -> Problem:
    return Problem(
        "known_columns",
        "warning",
        "every column is path, label, split, group, or a fact with a name of its own",
        f"{len(changes)} columns are not read",
        "nothing has to be done: they change nothing",
        changes,
    )


def _train_problem(draft: Draft) -> Problem:
    names = _given(draft).values()
    return Problem(
        "train_rows",
        "critical",
        "some rows are to be trained on",
        "no row of the table has the split 'train'",
        "mark the rows to train on",
        by_hand=bool(names) and "train" not in names,
    )


def _given(draft: Draft) -> dict[int, str]:
    """``train``, ``val`` or ``test`` for every row; empty where the table does not say."""
    given = draft.columns.get("split")
    if given is None or not any(given[row].strip() for row in draft.kept):
        return {}
    return {row: SPLIT_NAMES[given[row].strip().lower()] for row in draft.kept}


def _splits(draft: Draft) -> dict[int, str]:
    """``train`` or ``test`` for every row; empty where the table does not say, or says only one."""
    names = _given(draft)
    if len(set(names.values())) < 2:
        return {}
    has_test = "test" in names.values()
    return {row: honoured_split(name, has_test) for row, name in names.items()}


def _common_folder(files: list[Path], home: Path) -> Path:
    """The deepest folder that holds every image."""
    if not files:
        return home.resolve()
    return Path(os.path.commonpath([os.path.abspath(file.parent) for file in files]))  # noqa: PTH100 - not resolved
