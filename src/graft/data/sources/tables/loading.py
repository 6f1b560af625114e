"""Load a .csv or .parquet table as text columns, whatever its separator, byte-order mark or number formats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.errors import DataError
from graft.data.sources.tables.path_repair import is_file

if TYPE_CHECKING:
    import pandas as pd

_SEPARATORS = (";", "\t")
# pandas' name of a column without one.
_NAMELESS = "Unnamed: "


def load_table(path: Path) -> tuple[pd.DataFrame, str]:
    """The table as text columns, missing values empty, and what separates its columns (a comma, for parquet).

    Raises:
        DataError: there is no such file, or it is no table.
    """
    import pandas as pd

    # Asked before it is opened: opening a pipe would wait for ever.
    if not is_file(path):
        raise DataError("there is no such table", where=path, remedy="set data.source to the path of a file")
    try:
        if path.suffix.lower() == ".csv":
            return _read_csv(path)
        table = pd.read_parquet(path)
        return table.astype(object).where(table.notna(), "").map(str).rename(columns=str), ","
    except pd.errors.EmptyDataError:
        raise DataError("the table is empty", where=path, remedy="it needs the columns path and label") from None
    except Exception as error:  # parsers of both formats raise many kinds
        raise DataError(f"the table cannot be read: {error}", where=path, remedy="save it again as UTF-8 CSV") from None


def _read_csv(path: Path) -> tuple[pd.DataFrame, str]:
    import pandas as pd

    # utf-8-sig: spreadsheets put a byte-order mark before the first column's name.
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
    separator = next((char for char in _SEPARATORS if char in first and "," not in first), ",")
    table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    return _drop_unnamed_columns(table), separator


def _drop_unnamed_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Drop unnamed, empty columns, which a comma at the end of lines makes.

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
