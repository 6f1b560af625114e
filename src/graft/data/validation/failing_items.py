"""From the rows that broke a check to the files behind them, each with what was found in it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from graft.data.validation.findings import FailingItem
from graft.data.validation.tables import KEYS
from graft.modalities.check_spec import CheckSpec

if TYPE_CHECKING:
    import pandas as pd

_FILES_PER_CLASS = 10
_NAMED = 3
Explain = Callable[[str], str]


def failing_items(
    check: CheckSpec, broken: Sequence[str], table: pd.DataFrame, rows: pd.DataFrame
) -> tuple[FailingItem, ...]:
    """What broke ``check``: files; of a class its first files; of a feature that drifted a typical sample.

    ``broken`` are the keys of the rows of ``table`` that did, and ``rows`` is the manifest, in which the files of
    classes are looked up. A class that only a model knows has no file: its path is empty.
    """
    table = table.set_index(KEYS[check.table])
    if check.table == "images":
        explain = _EXPLAIN.get(check.column or "", partial(_value, check))(table)
        return tuple(FailingItem(path, str(table.at[path, "source"]), explain(path)) for path in broken)
    if check.table == "drift":
        return tuple(FailingItem(str(table.at[key, "example"]), key, str(table.at[key, "found"])) for key in broken)
    return tuple(item for label in broken for item in _members(check, label, table, rows))


def _members(check: CheckSpec, label: str, table: pd.DataFrame, rows: pd.DataFrame) -> Iterator[FailingItem]:
    """The first files of a class, each with what was found in the class."""
    value = str(table.at[label, "found"]) if "found" in table else f"class {label!r}"
    if "found" not in table and check.column:
        value += f", {worded(check, table.at[label, check.column])}"
    members = rows[rows["label"] == label].head(_FILES_PER_CLASS)
    if not len(members):
        yield FailingItem("", label, value)
    for path, source in zip(members["path"], members["source"], strict=True):
        yield FailingItem(path, source, value)


def worded(check: CheckSpec, value: object) -> str:
    """A value as people read it."""
    return check.found.format(f"{value:.3g}" if isinstance(value, float) else value)


def _value(check: CheckSpec, rows: pd.DataFrame) -> Explain:
    values = rows[check.column]
    return lambda path: worded(check, values.at[path])


def _other_labels(rows: pd.DataFrame) -> Explain:
    same = rows.groupby("fingerprint").groups
    names = rows["source"] + " (" + rows["label"] + ")"
    return lambda path: "also " + _listed(path, same[rows.at[path, "fingerprint"]], names)


def _copies(rows: pd.DataFrame) -> Explain:
    same = rows.groupby("cluster").groups
    return lambda path: "like " + _listed(path, same[rows.at[path, "cluster"]], rows["source"])


def _other_side(rows: pd.DataFrame) -> Explain:
    """Which files of its group are on the other side; near copies come first."""
    alike, related = rows.groupby(["cluster", "split"]).groups, rows.groupby(["related", "split"]).groups

    def explain(path: str) -> str:
        row = rows.loc[path]
        side = "train" if row["split"] == "test" else "test"
        if (row["cluster"], side) in alike:
            return "like " + _listed(path, alike[row["cluster"], side], rows["source"])
        return "of the group of " + _listed(path, related[row["related"], side], rows["source"])

    return explain


def _listed(path: str, group: Iterable[Hashable], names: pd.Series) -> str:
    """The first few files of a group other than ``path``; a group can be large, so no more are looked at."""
    others = [str(names.at[other]) for other in islice((item for item in group if item != path), _NAMED + 1)]
    return ", ".join(others[:_NAMED]) + (" ..." if len(others) > _NAMED else "")


# Columns that are about other files: those are named, for their value says nothing.
_EXPLAIN: Mapping[str, Callable[[pd.DataFrame], Explain]] = {
    "conflict": _other_labels,
    "copies": _copies,
    "straddles": _other_side,
}
