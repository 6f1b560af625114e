"""Rules for the rows of a table, each with the change that mends what breaks it.

Rules run in the order of this file, and each sees the table as those before it would leave it. A rule reads the table
(text columns; rows named by their position, from 0) and the folder that paths are relative to, and yields edits of its
column: row, new value, reason; without a value the row is left out. Nothing here writes: the pipeline refuses a table
with critical problems, and ``graft doctor --fix`` writes a copy.
"""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.settings import Severity
from graft.data.sources.listing import SPLIT_NAMES, printable
from graft.data.sources.tables.path_repair import find_path_rule, find_similar_path, is_file, path_parts
from graft.data.sources.tables.problems import TableChange, TableProblem
from graft.data.sources.tables.spelling import label_key, spellings, tidy, usual_spelling

if TYPE_CHECKING:
    import pandas as pd

Edits = Iterator[tuple[int, str | None, str]]
Find = Callable[["pd.DataFrame", Path], Edits]

_BETWEEN_LABELS = re.compile(r"[,;|]")
# What programs write for a label that is not there; a class may well be called "none" or "NA".
_NO_LABEL = frozenset({"", "nan", "<na>", "#n/a"})


@dataclass(frozen=True)
class RowRule:
    """A rule that every row must meet.

    Attributes:
        problem: what is said where it is not met, with ``{count}`` and ``{total}`` rows in its words.
        column: the column that its edits change.
        find: the edits that would mend it.
    """

    problem: TableProblem
    column: str
    find: Find


RULES: list[RowRule] = []


def check_rows(table: pd.DataFrame, home: Path) -> tuple[pd.DataFrame, tuple[TableProblem, ...]]:
    """The table as all rules would leave it, and a problem per rule; one without changes is a rule that is met."""
    problems, total = [], len(table)
    for rule in RULES:
        edits = list(rule.find(table, home))
        changes = tuple(_change(table, rule.column, *edit) for edit in edits)
        what = rule.problem.what.format(count=len(changes), total=total)
        problems.append(replace(rule.problem, what=what, changes=changes))
        table = table.drop(index=[row for row, value, _ in edits if value is None])
        if values := {row: value for row, value, _ in edits if value is not None}:
            table.loc[list(values), rule.column] = list(values.values())
    return table, tuple(problems)


def _change(table: pd.DataFrame, column: str, row: int, after: str | None, why: str) -> TableChange:
    path = printable(str(table.at[row, "path"]))
    if after is None:
        return TableChange(row + 1, path, "", "", None, why)
    return TableChange(row + 1, path, column, str(table.at[row, column]), after, why)


def _items(table: pd.DataFrame, column: str) -> Iterator[tuple[int, str]]:
    """Each row with its value."""
    return zip(table.index.tolist(), table[column].tolist(), strict=True)


def _rule(column: str, check: str, severity: Severity, says: str, what: str, remedy: str) -> Callable[[Find], Find]:
    def add(find: Find) -> Find:
        RULES.append(RowRule(TableProblem(check, severity, says, what, remedy), column, find))
        return find

    return add


@_rule(
    "path",
    "row_path",
    "critical",
    "every row names a file",
    "{count} of the {total} rows name no file",
    "fill in the column path, or take the rows out",
)
def _unnamed(table: pd.DataFrame, home: Path) -> Edits:
    for row in table.index[table["path"].str.strip() == ""].tolist():
        yield row, None, "it names no file"


@_rule(
    "path",
    "file_there",
    "critical",
    "every file that the table lists is there",
    "{count} of the {total} files that the table lists are not there",
    "paths are relative to the table's folder; mend them or take the rows out",
)
def _missing(table: pd.DataFrame, home: Path) -> Edits:
    missing = {row: path for row, path in _items(table, "path") if not is_file(home / path)}
    folders: dict[Path, dict[str, list[str]]] = {}
    similar = {row: find_similar_path(home, path, folders) for row, path in missing.items()}
    unlike = [missing[row] for row, found in similar.items() if found is None]
    # Of one file that is missing among many, another folder's file of its name need not be a copy.
    rule = find_path_rule(home, unlike) if unlike and len(unlike) == len(table) else None
    for row, path in missing.items():
        if similar[row] is not None:
            yield row, similar[row], "there is no such file, but one that is spelled nearly so"
        elif rule is not None and (meant := rule.apply(path_parts(path))):
            yield row, meant, str(rule)
        else:
            yield row, None, "there is no such file"


@_rule(
    "label",
    "row_label",
    "critical",
    "every row has a label",
    "{count} of the {total} rows have no label",
    "fill in the label, or take the rows out",
)
def _unlabelled(table: pd.DataFrame, home: Path) -> Edits:
    for row, label in _items(table, "label"):
        if label_key(label).lower() in _NO_LABEL:
            yield row, None, "it has no label"


@_rule(
    "label",
    "label_spelling",
    "critical",
    "every label is spelled in one way",
    "{count} of the {total} rows spell a label otherwise than most",
    "spell each label in one way; if two are meant, call them something that differs in more than case",
)
def _several_spellings(table: pd.DataFrame, home: Path) -> Edits:
    usual = {key: usual_spelling(counts) for key, counts in spellings(table["label"]).items() if len(counts) > 1}
    for row, label in _items(table, "label"):
        best = usual.get(label_key(label), label)
        if label != best:
            yield row, best, "the usual spelling of this label"


@_rule(
    "label",
    "label_space",
    "warning",
    "no label has white space around it",
    "{count} of the {total} rows have a label with white space or characters that cannot be seen",
    "take the white space out",
)
def _untidy(table: pd.DataFrame, home: Path) -> Edits:
    for row, label in _items(table, "label"):
        if tidy(label) != label:
            yield row, tidy(label), "white space or Unicode form that cannot be seen"


@_rule(
    "label",
    "one_label",
    "critical",
    "every row has one label",
    "{count} of the {total} rows have several labels in one cell",
    "graft tells classes apart of which an image has one: leave one label in each cell, or take the rows out",
)
def _several_labels(table: pd.DataFrame, home: Path) -> Edits:
    cells = set(table["label"])
    holders = Counter(part for cell in cells for part in set(_parts_of(cell)))
    for row, label in _items(table, "label"):
        parts = _parts_of(label)
        # A class may have a comma in its name; but then its parts are no classes, nor found in other names.
        if len(parts) > 1 and (not cells.isdisjoint(parts) or all(holders[part] > 1 for part in parts)):
            yield row, None, f"it has several labels: {' and '.join(map(repr, parts))}"


def _parts_of(label: str) -> list[str]:
    return [part.strip() for part in _BETWEEN_LABELS.split(label) if part.strip()]


@_rule(
    "path",
    "listed_once",
    "critical",
    "every file is listed once",
    "the table lists a file twice",
    "keep one row for each file",
)
def _listed_again(table: pd.DataFrame, home: Path) -> Edits:
    files = table["path"].map(lambda path: os.path.normpath(home / path))
    again = files[files.duplicated(keep=False)]
    for rows in again.groupby(again, sort=False).groups.values():
        labels = sorted(set(table.loc[rows, "label"]))
        keeper = _tested_first(table.loc[rows])
        for row in rows:
            if len(labels) > 1:
                yield row, None, f"its file is listed as {' and as '.join(map(repr, labels))}"
            elif row != keeper:
                yield row, None, f"row {keeper + 1} lists the same file"


def _tested_first(rows: pd.DataFrame) -> int:
    """The row to keep of several: a test row if there is one, so that no test image is trained on."""
    tested = rows[split_names(rows["split"]) == "test"] if "split" in rows else rows
    return int((tested if len(tested) else rows).index[0])


@_rule(
    "split",
    "known_split",
    "critical",
    "every row says train, val or test, or no row says anything",
    "{count} of the {total} rows have a split that is not train, val or test",
    "every row must say train, val or test, or no row may say anything",
)
def _unknown_split(table: pd.DataFrame, home: Path) -> Edits:
    if "split" not in table or not table["split"].str.strip().any():
        return
    for row, given in _items(table[split_names(table["split"]).isna()], "split"):
        name = given.strip().lower()
        if near := difflib.get_close_matches(name, SPLIT_NAMES, n=1, cutoff=0.7):
            yield row, SPLIT_NAMES[near[0]], f"{given!r} is no split"
        else:
            yield row, None, f"{given!r} is no split" if name else "it says no split, and others do"


def split_names(given: pd.Series) -> pd.Series:
    """``train``, ``val`` or ``test`` for what people call these; missing where it is none of them."""
    return given.str.strip().str.lower().map(SPLIT_NAMES)
