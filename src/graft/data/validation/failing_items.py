"""From the rows that broke a check to the files behind them, each with what was found in it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from graft.data.validation.check_spec import KEYS, Check, TableName
from graft.data.validation.findings import Offender

if TYPE_CHECKING:
    import pandas as pd

_FILES_PER_CLASS = 10
_NAMED = 3


@dataclass(frozen=True)
class Evidence:
    """What a validation looked at.

    Attributes:
        tables: those that were validated.
        rows: every image of the manifest, those in quarantine included.
        examples: for each fact that was compared the path of an image that shows the difference.
    """

    tables: Mapping[TableName, pd.DataFrame]
    rows: pd.DataFrame
    examples: Mapping[str, str]


def offenders(check: Check, broken: Sequence[str], seen: Evidence) -> tuple[Offender, ...]:
    """Who broke ``check``, given the keys of the rows that did.

    These are files; of a class its first files; of a fact that drifted a usual image. A class that only a model
    knows has no file: its offender's path is empty.
    """
    if check.table == "images":
        return tuple(_files(check, broken, seen.tables["images"]))
    table = seen.tables[check.table].set_index(KEYS[check.table])
    if check.table == "drift":
        return tuple(Offender(seen.examples[fact], fact, str(table.at[fact, "found"])) for fact in broken)
    return tuple(offender for label in broken for offender in _members(check, label, table, seen.rows))


def _members(check: Check, label: str, table: pd.DataFrame, rows: pd.DataFrame) -> Iterator[Offender]:
    """The first files of a class, each with what was found in the class."""
    if "found" in table:
        value = str(table.at[label, "found"])
    else:
        value = f"class {label!r}" + (f", {worded(check, table.at[label, check.column])}" if check.column else "")
    members = rows[rows["label"] == label].head(_FILES_PER_CLASS)
    if not len(members):
        yield Offender("", label, value)
    for path, source in zip(members["path"], members["source"], strict=True):
        yield Offender(path, source, value)


def _files(check: Check, broken: Iterable[str], images: pd.DataFrame) -> Iterator[Offender]:
    known = images.set_index("path")
    explain = _EXPLAIN.get(check.column or "", partial(_value, check))(known)
    sources = known["source"]
    for path in broken:
        yield Offender(path, str(sources.at[path]), explain(path))


def _value(check: Check, known: pd.DataFrame) -> Explain:
    values = known[check.column]
    return lambda path: worded(check, values.at[path])


def _other_labels(known: pd.DataFrame) -> Explain:
    same = known.groupby("pixel_sha256").groups
    names = known["source"] + " (" + known["label"] + ")"
    return lambda path: "also " + _listed(path, same[known.at[path, "pixel_sha256"]], names)


def _copies(known: pd.DataFrame) -> Explain:
    same = known.groupby("cluster").groups
    return lambda path: "like " + _listed(path, same[known.at[path, "cluster"]], known["source"])


def _other_side(known: pd.DataFrame) -> Explain:
    """Which files of its group are on the other side; those that look like it come first."""
    alike, related = known.groupby(["cluster", "split"]).groups, known.groupby(["related", "split"]).groups

    def explain(path: str) -> str:
        row = known.loc[path]
        side = "train" if row["split"] == "test" else "test"
        if (row["cluster"], side) in alike:
            return "like " + _listed(path, alike[row["cluster"], side], known["source"])
        return "of the group of " + _listed(path, related[row["related"], side], known["source"])

    return explain


def _listed(path: str, group: Iterable[Hashable], names: pd.Series) -> str:
    """The first few files of a group apart from ``path``; no more are looked at, for a group can be large."""
    others = [str(names.at[other]) for other in islice((item for item in group if item != path), _NAMED + 1)]
    return ", ".join(others[:_NAMED]) + (" ..." if len(others) > _NAMED else "")


Explain = Callable[[str], str]
# Columns that are about other files: those are named, for their value says nothing.
_EXPLAIN: Mapping[str, Callable[[pd.DataFrame], Explain]] = {
    "conflict": _other_labels,
    "copies": _copies,
    "straddles": _other_side,
}


def worded(check: Check, value: object) -> str:
    """A value as people read it."""
    return check.found.format(f"{value:.3g}" if isinstance(value, float) else value)
