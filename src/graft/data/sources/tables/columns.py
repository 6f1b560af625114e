"""Recognise a table's columns: path, label, split and group by other names, and a split column by its values."""

from __future__ import annotations

import difflib
import re
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


def name_columns(table: pd.DataFrame, separator: str, path: Path) -> tuple[pd.DataFrame, tuple[TableProblem, ...]]:
    """The table with its columns path, label, split and group so called, and facts of the user's own; and the problems.

    Args:
        table: text columns, as they were read.
        separator: what stood between them.
        path: the table, for messages.

    Raises:
        DataError: there is no column that could be path or label.
    """
    renames = _renames(list(table.columns), path)
    table = table.rename(columns=renames)
    split = None if "split" in table else _find_split_column(table)
    if split is not None:
        name, meaning = split
        values = table[name].map(lambda value: meaning.get(value.strip().lower(), value))
        table = table.assign(**{name: values}).rename(columns={name: "split"})
    unread = [name for name in _others(table) if not name.strip() or name in reserved_columns()]
    problems = (_heading_problem(separator, renames), _split_problem(split), _unread_problem(unread))
    return table.drop(columns=unread), problems


def _others(table: pd.DataFrame) -> list[str]:
    return [str(name) for name in table.columns if name not in KNOWN_COLUMNS]


def _renames(names: list[str], path: Path) -> dict[str, str]:
    """Names of columns that stand for a missing known one, and that one."""
    renames: dict[str, str] = {}
    for known in KNOWN_COLUMNS:
        if known in names:
            continue
        likely = _likely(known, [name for name in names if name not in KNOWN_COLUMNS and name not in renames])
        if likely is not None:
            renames[likely] = known
        elif known in _NEEDED:
            raise DataError(
                f"the table has no column {known!r}; its columns are: {', '.join(names)}",
                where=path,
                remedy=f"name the column {known!r}; {did_you_mean(known, names)}",
            )
    return renames


def _likely(known: str, names: list[str]) -> str | None:
    """The column that probably means ``known``, or None."""
    plain = {name.strip().lower(): name for name in reversed(names)}
    near = difflib.get_close_matches(known, plain, n=1, cutoff=0.75)
    aliases = (known, *sorted(_ALIASES.get(known, ())), *near)
    return next((plain[alias] for alias in aliases if alias in plain), None)


def _find_split_column(table: pd.DataFrame) -> tuple[str, dict[str, str]] | None:
    """The column whose values are splits, and what they mean where they are true and false; or None."""
    for name in _others(table):
        values = {value.strip().lower() for value in table[name].unique()} - {""}
        parts = {SPLIT_NAMES.get(value) for value in values}
        if None not in parts and "train" in parts and len(parts) > 1:
            return name, {}
        part = _BOOLEAN_SPLIT.fullmatch(name.strip().lower())
        if part and values & _TRUE and values & _FALSE and values <= _TRUE | _FALSE:
            true = SPLIT_NAMES[part[1]]
            false = "test" if true == "train" else "train"
            return name, {**dict.fromkeys(_TRUE, true), **dict.fromkeys(_FALSE, false)}
    return None


def _heading_problem(separator: str, renames: dict[str, str]) -> TableProblem:
    changes = [TableChange(0, "", "heading", old, new, f"there is no column {new!r}") for old, new in renames.items()]
    if separator != ",":
        changes.insert(0, TableChange(0, "", "", separator, ",", "columns are separated by commas"))
    what, remedy = "the table's columns are not separated by commas", "save it with commas"
    if renames:
        what = f"the table has no column {' and '.join(map(repr, renames.values()))}"
        remedy = "rename " + " and ".join(f"{old!r} to {new!r}" for old, new in renames.items())
    says = "the columns are called path, label, and if wanted split and group"
    return TableProblem("columns", "critical", says, what, remedy, tuple(changes))


def _split_problem(split: tuple[str, dict[str, str]] | None) -> TableProblem:
    name, meaning = split or ("", {})
    values = f" with {meaning['true']!r} for true and {meaning['false']!r} for false" if meaning else ""
    change = TableChange(0, "", "heading", name, "split", f"it says which rows are tested{values}")
    return TableProblem(
        "split_column",
        "critical",
        "what says which rows are for training and which for testing is called split",
        f"the column {name!r} says which rows are for training, and is not called 'split'",
        f"rename {name!r} to 'split'{values}; or, if the images are to be divided anew, add an empty column 'split'",
        (change,) if split else (),
    )


def _unread_problem(names: list[str]) -> TableProblem:
    why = "graft has a column of this name itself and does not read this one"
    return TableProblem(
        "known_columns",
        "warning",
        "every column is path, label, split, group, or a fact with a name of its own",
        f"{len(names)} columns are not read",
        "nothing has to be done: they change nothing",
        tuple(TableChange(0, "", "heading", name, None, why) for name in names),
    )
