"""A .csv or .parquet table: a row per image with path (relative to the table), label, and if wanted split, group.

Other columns are facts of the user's own, such as a camera: they are kept as text, for the evaluation's slices.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.errors import DataError
from graft.data.sources.listing import SPLIT_NAMES, Sample, SourceListing, effective_split, printable
from graft.data.sources.tables.cleaning import TableDraft, check_rows
from graft.data.sources.tables.columns import (
    KNOWN_COLUMNS,
    column_renames,
    find_split_column,
    has_column,
    heading_problem,
    is_metadata,
    split_column_problem,
    unknown_columns,
    unknown_problem,
)
from graft.data.sources.tables.loading import load_table
from graft.data.sources.tables.path_repair import foreign_path_advice
from graft.data.sources.tables.problems import TableProblem

if TYPE_CHECKING:
    pass

SUFFIXES = frozenset({".csv", ".parquet"})


def read_table(path: Path) -> SourceListing:
    """List the images of a table.

    Raises:
        DataError: there is no table, it cannot be read, a column is missing, or a rule of
            :mod:`graft.data.sources.tables.cleaning` that is critical is not met; the message says how to get a cleaned
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
    """Load a table, check every rule and apply its changes."""
    table, separated = load_table(path)
    heading = column_renames([str(name) for name in table.columns], path)
    division = None if has_column("split", table, heading) else find_split_column(table, heading)
    unknown = unknown_columns([str(name) for name in table.columns], heading)
    table = table.rename(columns={change.before: change.after for change in heading})
    if division is not None:
        table[division.column] = table[division.column].map(division.split_of)
        table = table.rename(columns={division.column: "split"})
    facts = tuple(str(name) for name in table.columns if str(name) not in KNOWN_COLUMNS and is_metadata(str(name)))
    columns = {name: table[name].tolist() for name in (*KNOWN_COLUMNS, *facts) if name in table}
    draft = TableDraft(path.parent, columns, facts=facts)
    heading_problems = (
        heading_problem((*separated, *heading)),
        split_column_problem(division),
        unknown_problem(unknown),
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
    """The error of a table's problem; with ``mendable`` it proposes ``graft doctor --fix``."""
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
