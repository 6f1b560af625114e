"""Runs the checks as a real Great Expectations suite over the manifest: the only room that imports the library."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from graft.config import Validation
from graft.errors import GraftError
from graft.validation.checks import CHECKS, Check
from graft.validation.findings import Finding, Offender
from graft.validation.tables import classes_table, images_table

if TYPE_CHECKING:
    import pandas as pd

_KEYS = {"images": "path", "classes": "label"}
_FILES_PER_CLASS = 10


def validate_manifest(manifest: pd.DataFrame, limits: Validation) -> tuple[Finding, ...]:
    """Hold every check of :data:`graft.validation.checks.CHECKS` against a manifest.

    Args:
        manifest: as :func:`graft.images.manifest.build_manifest` gives it.
        limits: the thresholds.

    Returns:
        A finding per check that applies, in the order of the table.

    Raises:
        GraftError: Great Expectations could not compute an expectation, which is a fault of graft.
    """
    tables = {"images": images_table(manifest, limits.near_duplicate_distance), "classes": classes_table(manifest)}
    has_splits = bool(manifest["split"].notna().any())
    checks = [check for check in CHECKS if has_splits or not check.needs_split]
    results: dict[str, Mapping[str, Any]] = {}
    for name, table in tables.items():
        results.update(_validate(table, name, [check for check in checks if check.table == name], limits))
    return tuple(_finding(check, results[check.name], tables, limits) for check in checks)


def _validate(
    table: pd.DataFrame, name: str, checks: Iterable[Check], limits: Validation
) -> dict[str, Mapping[str, Any]]:
    """The result of each check as plain data."""
    gx = _great_expectations()
    context = gx.get_context(mode="ephemeral")
    # Bars of its own would fight with ours, and neither belongs into a log.
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("graft").add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table})
    expectations = [
        getattr(gx.expectations, check.expectation)(
            **({} if check.column is None else {"column": check.column}),
            **check.arguments(limits),
            meta={"check": check.name},
        )
        for check in checks
    ]
    suite = gx.ExpectationSuite(name=name, expectations=expectations)
    shape = {"result_format": "COMPLETE", "unexpected_index_column_names": [_KEYS[name]]}
    outcome = batch.validate(suite, result_format=shape)
    return {result.expectation_config.meta["check"]: result.to_json_dict() for result in outcome.results}


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


def _finding(
    check: Check, result: Mapping[str, Any], tables: Mapping[str, pd.DataFrame], limits: Validation
) -> Finding:
    trouble = result["exception_info"]
    if not result["result"] and not result["success"]:
        raise GraftError(f"the check {check.name!r} could not be computed: {trouble}", remedy="please report this")
    offenders: tuple[Offender, ...] = ()
    count = 0
    if not result["success"]:
        # A count of rows has no rows to blame: the first of them all stand for it.
        everything = [{"label": label} for label in tables["classes"]["label"]]
        broken = result["result"].get("unexpected_index_list", everything)
        count = len(broken) or 1
        offenders = tuple(_offenders(check, broken, tables))
    return Finding(
        check.name,
        check.severity_for(limits),
        bool(result["success"]),
        check.says(limits),
        count,
        offenders,
        check.remedy,
    )


def _offenders(
    check: Check, broken: Iterable[Mapping[str, Any]], tables: Mapping[str, pd.DataFrame]
) -> Iterable[Offender]:
    """The files behind the rows that broke a check; for a class that broke one, its first files."""
    images = tables["images"]
    if check.table == "classes":
        for row in broken:
            members = images[images["label"] == row["label"]].head(_FILES_PER_CLASS)
            value = f"class {row['label']!r}" + (f", {_worded(check, row[check.column])}" if check.column else "")
            yield from (
                Offender(path, source, value) for path, source in zip(members["path"], members["source"], strict=True)
            )
        return
    known = images.set_index("path")
    for row in broken:
        path = row["path"]
        yield Offender(path, str(known.at[path, "source"]), _explain(check, row, known))


def _explain(check: Check, row: Mapping[str, Any], known: pd.DataFrame) -> str:
    """What was found in one file; where it is about other files, which ones."""
    value = row[check.column or ""]
    if check.column == "conflict":
        same = known[known["pixel_sha256"] == known.at[row["path"], "pixel_sha256"]]
        return "also " + ", ".join(
            f"{item.source} ({item.label})" for item in same.itertuples() if item.Index != row["path"]
        )
    if check.column in {"copies", "straddles"}:
        same = known[known["cluster"] == known.at[row["path"], "cluster"]]
        others = [str(item.source) for item in same.itertuples() if item.Index != row["path"]]
        return "like " + ", ".join(others[:3]) + (" ..." if len(others) > 3 else "") if others else "of the same group"
    return _worded(check, value)


def _worded(check: Check, value: object) -> str:
    return check.found.format(f"{value:.3g}" if isinstance(value, float) else value)
