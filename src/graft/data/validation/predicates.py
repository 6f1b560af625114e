"""The expectations that checks use, computed by pandas: importing Great Expectations takes three seconds, too long for
``graft doctor``. A test holds the two to one answer for every check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.settings import Validation
from graft.data.validation.tables import KEYS
from graft.modalities.check_spec import CheckSpec

if TYPE_CHECKING:
    import pandas as pd


def broken_rows(
    table: pd.DataFrame, checks: Sequence[CheckSpec], limits: Validation
) -> dict[str, tuple[str, ...] | None]:
    """What :func:`graft.data.validation.expectations.broken_rows` returns."""
    return {check.name: _broken(table, check, check.arguments(limits) or {}) for check in checks}


def _broken(table: pd.DataFrame, check: CheckSpec, arguments: Mapping[str, Any]) -> tuple[str, ...] | None:
    keys = table[KEYS[check.table]]
    if check.column is None:
        return None if len(table) >= arguments["min_value"] else tuple(keys)
    values = table[check.column]
    fails = _FAILS[check.expectation](values, **arguments) & values.notna()
    bad = keys[fails.fillna(False).to_numpy(dtype=bool)]
    return tuple(map(str, bad)) if len(bad) else None


_FAILS: Mapping[str, Callable[..., pd.Series]] = {
    "ExpectColumnValuesToBeBetween": lambda values, min_value=-np.inf, max_value=np.inf: (
        (values < min_value) | (values > max_value)
    ),
    "ExpectColumnValuesToBeInSet": lambda values, value_set: ~values.isin(value_set),
    "ExpectColumnValuesToBeNull": lambda values: values.notna(),
    "ExpectColumnValuesToMatchRegex": lambda values, regex: ~values.astype("str").str.contains(regex),
}
