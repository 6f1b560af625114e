"""Run checks over a table: as a suite of Great Expectations, which only this module imports, or by pandas."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.errors import GraftError
from graft.core.settings import Validation
from graft.data.validation.tables import KEYS
from graft.modalities.check_spec import CheckSpec

if TYPE_CHECKING:
    import pandas as pd

# For each check by name None where it is met, else the keys (those of ``KEYS``) of the rows that broke it, in the
# table's order; a check that counts rows gives all of them.
BrokenRows = dict[str, tuple[str, ...] | None]


def broken_rows(table: pd.DataFrame, checks: Sequence[CheckSpec], limits: Validation) -> BrokenRows:
    """Run ``checks``, all of them about ``table``, as a suite of Great Expectations.

    Raises:
        GraftError: Great Expectations is not installed, or could not compute an expectation, a fault of graft.
    """
    gx = _great_expectations()
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    key = KEYS[checks[0].table]
    asset = context.data_sources.add_pandas("graft").add_dataframe_asset(checks[0].table)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table})
    suite = gx.ExpectationSuite(name=checks[0].table, expectations=[_expectation(gx, item, limits) for item in checks])
    outcome = batch.validate(suite, result_format={"result_format": "COMPLETE", "unexpected_index_column_names": [key]})
    results = {item.expectation_config.meta["check"]: item.to_json_dict() for item in outcome.results}
    return {check.name: _keys(check, results[check.name], table[key]) for check in checks}


def _expectation(gx: Any, check: CheckSpec, limits: Validation) -> Any:
    column = {} if check.column is None else {"column": check.column}
    kind = getattr(gx.expectations, check.expectation)
    return kind(**column, **(check.arguments(limits) or {}), meta={"check": check.name})


def _keys(check: CheckSpec, result: dict[str, Any], keys: pd.Series) -> tuple[str, ...] | None:
    if result["success"]:
        return None
    if not result["result"]:
        trouble = result["exception_info"]
        raise GraftError(f"the check {check.name!r} could not be computed: {trouble}", remedy="please report this")
    if check.column is None:
        return tuple(keys)
    return tuple(str(row[keys.name]) for row in result["result"]["unexpected_index_list"])


def _great_expectations() -> Any:
    """Import the library (3 s) with its telemetry off, and without its warnings about others' deprecations."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import great_expectations as gx
            import great_expectations.expectations
        except ImportError:
            raise GraftError(
                "validation needs the package great_expectations, which is not installed",
                remedy="install graft with its extra: pip install 'graft[validation]'",
            ) from None
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    return gx


def broken_rows_by_pandas(table: pd.DataFrame, checks: Sequence[CheckSpec], limits: Validation) -> BrokenRows:
    """The same by pandas, for `graft doctor`: importing the library takes three seconds.

    A test holds the two to one answer for every check.
    """
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
