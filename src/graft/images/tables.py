"""A .csv or .parquet table: a row per image with path (relative to the table), label, and if wanted split, group."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from graft.errors import DataError, did_you_mean
from graft.images.records import SPLIT_NAMES, Found, Record, honoured_split, printable

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = frozenset({".csv", ".parquet"})
_NEEDED = ("path", "label")
_OPTIONAL = ("split", "group")


def read_table(path: Path) -> Found:
    """List the images of a table.

    Raises:
        DataError: there is no table, it cannot be read, a column is missing, a file it lists is not there or is
            listed twice, or its splits are not train, val or test in every row.
    """
    table = _load(path)
    _check_columns(table, path)
    home = path.parent
    files = [home / name for name in table["path"]]
    _check_files(table["path"].tolist(), files, path)
    splits = _splits(table, path)
    groups = table["group"].tolist() if "group" in table else []
    records = [
        Record(file, printable(name), label, splits[row] if splits else None, (groups[row] or None) if groups else None)
        for row, (file, name, label) in enumerate(zip(files, table["path"], table["label"], strict=True))
    ]
    return Found(
        tuple(sorted(records, key=lambda record: record.source)),
        watched=_common_folder(files, home),
        table=path.resolve(),
    )


def _load(path: Path) -> pd.DataFrame:
    import pandas as pd

    if not path.exists():
        raise DataError("there is no such table", where=path, remedy="set data.source to the table's path")
    try:
        if path.suffix.lower() == ".csv":
            # utf-8-sig: spreadsheets put a byte-order mark before the first column's name.
            return pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        return _as_text(pd.read_parquet(path))
    except pd.errors.EmptyDataError:
        raise DataError("the table is empty", where=path, remedy="it needs the columns path and label") from None
    except Exception as error:  # parsers of both formats raise many kinds
        raise DataError(f"the table cannot be read: {error}", where=path, remedy="save it again as UTF-8 CSV") from None


def _as_text(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers as labels are common; missing values become empty text, as they are in a .csv."""
    kept = [name for name in (*_NEEDED, *_OPTIONAL) if name in table]
    text = {name: ["" if _missing(value) else str(value) for value in table[name]] for name in kept}
    return table.assign(**text)


def _missing(value: object) -> bool:
    return value is None or value != value


def _check_columns(table: pd.DataFrame, path: Path) -> None:
    names = [str(name) for name in table.columns]
    for needed in _NEEDED:
        if needed not in names:
            raise DataError(
                f"the table has no column {needed!r}; its columns are: {', '.join(names)}",
                where=path,
                remedy=f"name the column {needed!r}; {did_you_mean(needed, names)}",
            )


def _check_files(names: list[str], files: list[Path], path: Path) -> None:
    missing = [name or "(empty)" for name, file in zip(names, files, strict=True) if not name or not file.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(files)} files that the table lists are not there: {_first(missing)}",
            where=path,
            remedy="paths are relative to the table's folder; mend them or take the rows out",
        )
    seen: set[str] = set()
    twice = []
    for name, file in zip(names, files, strict=True):
        place = os.path.normpath(file)
        if place in seen:
            twice.append(name)
        seen.add(place)
    if twice:
        raise DataError(
            f"the table lists a file twice: {_first(twice)}", where=path, remedy="keep one row for each file"
        )


def _first(names: list[str], count: int = 5) -> str:
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")


def _splits(table: pd.DataFrame, path: Path) -> list[str]:
    """``train`` or ``test`` for every row; empty where the table does not say."""
    if "split" not in table or not (table["split"].str.strip() != "").any():
        return []
    given = []
    for row, value in enumerate(table["split"].tolist()):
        name = SPLIT_NAMES.get(value.strip().lower())
        if name is None:
            raise DataError(
                f"row {row + 1} of the table has the split {value!r}",
                where=path,
                remedy="every row must say train, val or test, or no row may say anything",
            )
        given.append(name)
    if "train" not in given:
        raise DataError("no row of the table has the split 'train'", where=path, remedy="mark the rows to train on")
    if set(given) == {"train"}:
        return []
    return [honoured_split(name, "test" in given) for name in given]


def _common_folder(files: list[Path], home: Path) -> Path:
    """The deepest folder that holds every image."""
    if not files:
        return home.resolve()
    return Path(os.path.commonpath([os.path.abspath(file.parent) for file in files]))  # noqa: PTH100 - not resolved
