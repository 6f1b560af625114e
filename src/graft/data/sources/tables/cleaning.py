"""Rules for the rows of a table, and the change that fixes each violation.

To add a rule, add a row to ``RULES``. Rules run in order, and each sees the table as the ones before it would leave it.
Nothing here writes: the pipeline refuses a table with critical problems, and ``graft doctor --fix`` writes a copy.
"""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from graft.core.settings import Severity
from graft.data.sources.listing import SPLIT_NAMES, printable
from graft.data.sources.tables.path_repair import find_path_rule, path_parts
from graft.data.sources.tables.problems import TableChange, TableProblem
from graft.data.sources.tables.spelling import find_similar_path, is_file, label_key, spellings, tidy, usual_spelling

_BETWEEN_LABELS = re.compile(r"[,;|]")
# What programs write for a label that is not there; a class may well be called "none" or "NA".
_NO_LABEL = frozenset({"", "nan", "<na>", "#n/a"})


@dataclass
class TableDraft:
    """A table being cleaned: text columns, and the rows that are kept.

    Attributes:
        home: the folder that paths are relative to.
        columns: path and label, and split, group and ``facts`` where the table has them; all of one length.
        kept: the rows still in it, by position, in order.
        facts: the columns that are the user's own and stay as they are.
    """

    home: Path
    columns: dict[str, list[str]]
    kept: list[int] = field(default_factory=list)
    facts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.kept = list(range(len(self.columns["path"])))

    def file(self, row: int) -> Path:
        """Where the row's image lies."""
        return self.home / self.columns["path"][row]

    def leave_out(self, row: int, why: str) -> TableChange:
        """Propose to leave a row out."""
        return TableChange(row + 1, printable(self.columns["path"][row]), "", "", None, why)

    def rewrite(self, row: int, column: str, after: str, why: str) -> TableChange:
        """Propose another value."""
        path, before = self.columns["path"][row], self.columns[column][row]
        return TableChange(row + 1, printable(path), column, before, after, why)

    def apply(self, changes: list[TableChange]) -> None:
        """Make the changes."""
        gone = set()
        for change in changes:
            if change.after is None:
                gone.add(change.row - 1)
            else:
                self.columns[change.column][change.row - 1] = change.after
        self.kept = [row for row in self.kept if row not in gone]


@dataclass(frozen=True)
class RowRule:
    """A rule that every row must meet.

    Attributes:
        check: its name, short and unique.
        severity: critical where the pipeline could only guess.
        says: what is expected, in words.
        broken: how it is said that it is not met, with ``{count}`` and ``{total}`` rows.
        remedy: what the user can do.
        find: the changes that would mend it.
    """

    check: str
    severity: Severity
    says: str
    broken: str
    remedy: str
    find: Callable[[TableDraft], Iterator[TableChange]]


def check_rows(draft: TableDraft) -> tuple[TableProblem, ...]:
    """Check every rule and apply its changes to ``draft``; a problem without changes is a rule that is met."""
    problems, total = [], len(draft.kept)
    for rule in RULES:
        changes = list(rule.find(draft))
        draft.apply(changes)
        what = rule.broken.format(count=len(changes), total=total)
        problems.append(TableProblem(rule.check, rule.severity, rule.says, what, rule.remedy, tuple(changes)))
    return tuple(problems)


def _unnamed(draft: TableDraft) -> Iterator[TableChange]:
    for row in draft.kept:
        if not draft.columns["path"][row].strip():
            yield draft.leave_out(row, "it names no file")


def _not_there(draft: TableDraft) -> Iterator[TableChange]:
    paths = draft.columns["path"]
    missing = [row for row in draft.kept if not is_file(draft.file(row))]
    folders: dict[Path, dict[str, list[str]]] = {}
    alike = {row: find_similar_path(draft.home, paths[row], folders) for row in missing}
    unlike = [row for row in missing if alike[row] is None]
    # Of one file that is missing among many, another folder's file of its name need not be a copy.
    rule = find_path_rule(draft.home, [paths[row] for row in unlike]) if unlike and unlike == draft.kept else None
    for row in missing:
        found = alike[row]
        if found is not None:
            yield draft.rewrite(row, "path", found, "there is no such file, but one that is spelled nearly so")
        elif rule is not None and (meant := rule.apply(path_parts(paths[row]))):
            yield draft.rewrite(row, "path", meant, str(rule))
        else:
            yield draft.leave_out(row, "there is no such file")


def _unlabelled(draft: TableDraft) -> Iterator[TableChange]:
    for row in draft.kept:
        if label_key(draft.columns["label"][row]).lower() in _NO_LABEL:
            yield draft.leave_out(row, "it has no label")


def _several_spellings(draft: TableDraft) -> Iterator[TableChange]:
    labels = draft.columns["label"]
    best = {
        key: usual_spelling(counts)
        for key, counts in spellings([labels[row] for row in draft.kept]).items()
        if len(counts) > 1
    }
    for row in draft.kept:
        usual = best.get(label_key(labels[row]))
        if usual is not None and labels[row] != usual:
            yield draft.rewrite(row, "label", usual, "the usual spelling of this label")


def _untidy(draft: TableDraft) -> Iterator[TableChange]:
    for row in draft.kept:
        label = draft.columns["label"][row]
        if tidy(label) != label:
            yield draft.rewrite(row, "label", tidy(label), "white space or Unicode form that cannot be seen")


def _several_labels(draft: TableDraft) -> Iterator[TableChange]:
    labels = draft.columns["label"]
    cells = {labels[row] for row in draft.kept}
    holders = Counter(part for cell in cells for part in set(_parts_of(cell)))
    for row in draft.kept:
        parts = _parts_of(labels[row])
        # A class may have a comma in its name; but then its parts are no classes, nor found in other names.
        if len(parts) > 1 and (not cells.isdisjoint(parts) or all(holders[part] > 1 for part in parts)):
            yield draft.leave_out(row, f"it has several labels: {' and '.join(map(repr, parts))}")


def _parts_of(label: str) -> list[str]:
    """Parts of a label between commas, semicolons or bars."""
    return [part.strip() for part in _BETWEEN_LABELS.split(label) if part.strip()]


def _listed_again(draft: TableDraft) -> Iterator[TableChange]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row in draft.kept:
        rows[os.path.normpath(draft.file(row))].append(row)
    for same in rows.values():
        if len(same) == 1:
            continue
        labels = sorted({draft.columns["label"][row] for row in same})
        if len(labels) > 1:
            for row in same:
                yield draft.leave_out(row, f"its file is listed as {' and as '.join(map(repr, labels))}")
        else:
            keeper = _tested_first(draft, same)
            for row in same:
                if row != keeper:
                    yield draft.leave_out(row, f"row {keeper + 1} lists the same file")


def _tested_first(draft: TableDraft, rows: list[int]) -> int:
    """The row to keep of several: a test row if there is one, so that no test image is trained on."""
    given = draft.columns.get("split")
    if given is None:
        return rows[0]
    return min(rows, key=lambda row: (SPLIT_NAMES.get(given[row].strip().lower()) != "test", row))


def _wrong_split(draft: TableDraft) -> Iterator[TableChange]:
    given = draft.columns.get("split")
    if given is None or not any(given[row].strip() for row in draft.kept):
        return
    for row in draft.kept:
        name = given[row].strip().lower()
        if name in SPLIT_NAMES:
            continue
        near = difflib.get_close_matches(name, SPLIT_NAMES, n=1, cutoff=0.7)
        if near:
            yield draft.rewrite(row, "split", SPLIT_NAMES[near[0]], f"{given[row]!r} is no split")
        else:
            yield draft.leave_out(row, f"{given[row]!r} is no split" if name else "it says no split, and others do")


RULES = (
    RowRule(
        "row_path",
        "critical",
        "every row names a file",
        "{count} of the {total} rows name no file",
        "fill in the column path, or take the rows out",
        _unnamed,
    ),
    RowRule(
        "file_there",
        "critical",
        "every file that the table lists is there",
        "{count} of the {total} files that the table lists are not there",
        "paths are relative to the table's folder; mend them or take the rows out",
        _not_there,
    ),
    RowRule(
        "row_label",
        "critical",
        "every row has a label",
        "{count} of the {total} rows have no label",
        "fill in the label, or take the rows out",
        _unlabelled,
    ),
    RowRule(
        "label_spelling",
        "critical",
        "every label is spelled in one way",
        "{count} of the {total} rows spell a label otherwise than most",
        "spell each label in one way; if two are meant, call them something that differs in more than case",
        _several_spellings,
    ),
    RowRule(
        "label_space",
        "warning",
        "no label has white space around it",
        "{count} of the {total} rows have a label with white space or characters that cannot be seen",
        "take the white space out",
        _untidy,
    ),
    RowRule(
        "one_label",
        "critical",
        "every row has one label",
        "{count} of the {total} rows have several labels in one cell",
        "graft tells classes apart of which an image has one: leave one label in each cell, or take the rows out",
        _several_labels,
    ),
    RowRule(
        "listed_once",
        "critical",
        "every file is listed once",
        "the table lists a file twice",
        "keep one row for each file",
        _listed_again,
    ),
    RowRule(
        "known_split",
        "critical",
        "every row says train, val or test, or no row says anything",
        "{count} of the {total} rows have a split that is not train, val or test",
        "every row must say train, val or test, or no row may say anything",
        _wrong_split,
    ),
)
