"""A .csv or .parquet table: a row per image with path (relative to the table), label, and if wanted split, group.

Other columns are facts of the user's own, such as a camera: they are kept as text, for the evaluation's slices.
Read in three steps: as text (:mod:`loading`), the columns named (:mod:`columns`), the rows cleaned (:mod:`rules`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from graft.data.sources.listing import Sample, SourceListing, effective_splits, printable
from graft.data.sources.tables.columns import KNOWN_COLUMNS, name_columns
from graft.data.sources.tables.loading import load_table
from graft.data.sources.tables.problems import TableProblem
from graft.data.sources.tables.rules import check_rows, split_names

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = frozenset({".csv", ".parquet"})


def read_table(path: Path) -> SourceListing:
    """List the images that a cleaned copy of the table would list, and every problem with its changes.

    Raises:
        DataError: there is no table, it cannot be read, or a column is missing that no other looks like.
    """
    table, separator = load_table(path)
    table, heading = name_columns(table, separator, path)
    table, broken = check_rows(table, path.parent)
    given = _given_splits(table)
    samples = _samples(table, path.parent, effective_splits(given))
    return SourceListing(
        tuple(sorted(samples, key=lambda sample: sample.source)),
        watched=_common_folder([sample.file for sample in samples if isinstance(sample.file, Path)], path.parent),
        table=path.resolve(),
        problems=(*heading, *broken, _train_problem(given)),
        rows=tuple(zip(samples, table.get("split", [""] * len(table)), strict=True)),
    )


def _given_splits(table: pd.DataFrame) -> dict[int, str]:
    """``train``, ``val`` or ``test`` for every row; empty where the table does not say."""
    if "split" not in table or not table["split"].str.strip().any():
        return {}
    return dict(split_names(table["split"]))


def _samples(table: pd.DataFrame, home: Path, splits: dict[int, str | None]) -> list[Sample]:
    facts = [str(name) for name in table.columns if name not in KNOWN_COLUMNS]
    return [
        Sample(
            home / values["path"],
            printable(values["path"]),
            values["label"],
            splits.get(row),
            values.get("group") or None,
            tuple((name, printable(values[name])) for name in facts),
        )
        for row, values in zip(table.index, table.to_dict("records"), strict=True)
    ]


def _train_problem(given: dict[int, str]) -> TableProblem:
    return TableProblem(
        "train_rows",
        "critical",
        "some rows are to be trained on",
        "no row of the table has the split 'train'",
        "mark the rows to train on",
        by_hand=bool(given) and "train" not in given.values(),
    )


def _common_folder(files: list[Path], home: Path) -> Path:
    """The deepest folder that holds every image."""
    if not files:
        return home.resolve()
    return Path(os.path.commonpath([os.path.abspath(file.parent) for file in files]))  # noqa: PTH100 - not resolved
