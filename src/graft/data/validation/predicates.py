"""The kinds of expectations that the checks use, computed by pandas.

The stage `validate` computes them by Great Expectations, which takes three seconds to import: too long for
``graft doctor``. A test holds the two to one answer for every check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from graft.core.settings import Validation
from graft.data.validation.check_spec import KEYS, Check

if TYPE_CHECKING:
    import pandas as pd


def broken_rows(table: pd.DataFrame, checks: Sequence[Check], limits: Validation) -> dict[str, tuple[str, ...] | None]:
    """Hold ``checks`` against ``table``, with the answer of :func:`graft.data.validation.expectations.broken_rows`."""
    return {check.name: _broken(table, check, check.arguments(limits) or {}) for check in checks}


def _broken(table: pd.DataFrame, check: Check, arguments: Mapping[str, Any]) -> tuple[str, ...] | None:
    keys = table[KEYS[check.table]]
    if check.column is None:
        return None if len(table) >= arguments["min_value"] else tuple(keys)
    bad = keys[_KINDS[check.expectation](table[check.column], **arguments).to_numpy(dtype=bool)]
    return tuple(map(str, bad)) if len(bad) else None


def _outside(values: pd.Series, min_value: float | None = None, max_value: float | None = None) -> pd.Series:
    """Which values lie outside; what is missing does not."""
    outside = values.isna() & False
    if min_value is not None:
        outside |= (values < min_value).fillna(False)
    if max_value is not None:
        outside |= (values > max_value).fillna(False)
    return outside


def _not_in(values: pd.Series, value_set: Sequence[Any]) -> pd.Series:
    return values.notna() & ~values.isin(value_set)


def _unlike(values: pd.Series, regex: str) -> pd.Series:
    return values.notna() & ~values.astype("str").str.contains(regex)


_KINDS: Mapping[str, Callable[..., pd.Series]] = {
    "ExpectColumnValuesToBeBetween": _outside,
    "ExpectColumnValuesToBeInSet": _not_in,
    "ExpectColumnValuesToBeNull": lambda values: values.notna(),
    "ExpectColumnValuesToMatchRegex": _unlike,
}
