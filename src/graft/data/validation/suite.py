"""Run the checks against a manifest: first those that leave files out, then all others on what is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from graft.core.errors import ConfigError, did_you_mean
from graft.core.settings import Params, SeverityChoice, Validation
from graft.data.manifest import with_strata
from graft.data.validation.builtin_checks import checks_of
from graft.data.validation.drift import Distribution, measure_drift
from graft.data.validation.expectations import BrokenRows, broken_rows
from graft.data.validation.failing_items import failing_items
from graft.data.validation.findings import Finding, explained
from graft.data.validation.tables import (
    ABOUT,
    class_set_table,
    classes_table,
    drift_table,
    images_table,
    labelled,
    relate,
)
from graft.modalities.check_spec import CheckSpec, TableName
from graft.modalities.registry import find_modality
from graft.tasks.registry import find_task

if TYPE_CHECKING:
    import pandas as pd

_WHERE = "validation.severity"


@dataclass(frozen=True)
class Reference:
    """What the data is compared with, where there is such a thing.

    Attributes:
        classes: those of the production model.
        distributions: of the drift features (:func:`graft.data.validation.drift.summarise`) of the last validated data.
    """

    classes: tuple[str, ...] | None = None
    distributions: Mapping[str, Distribution] | None = None


NO_REFERENCE = Reference()
Evaluate = Callable[["pd.DataFrame", Sequence[CheckSpec], Validation], BrokenRows]


def severities(checks: Iterable[CheckSpec], limits: Validation) -> dict[str, SeverityChoice]:
    """The severity of every check by name: the user's where given, else the default.

    Raises:
        ConfigError: ``validation.severity`` names no check, or gives one a severity that it cannot have.
    """
    by_name = {check.name: check for check in checks}
    for name, given in limits.severity.items():
        if name not in by_name:
            raise ConfigError(f"there is no check {name!r}", where=_WHERE, remedy=did_you_mean(name, by_name))
        check = by_name[name]
        if given not in check.choices:
            why = "it is not about single files, so there are none to leave out"
            if given != "quarantine":
                why = "no model can be trained on data that does not meet it"
            raise ConfigError(
                f"the check {name!r} cannot be {given!r}: {why}",
                where=f"{_WHERE}.{name}",
                remedy=f"set it to {' or '.join(check.choices)}, or leave it out for {check.severity}",
            )
    return {name: limits.severity.get(name, check.severity) for name, check in by_name.items()}


def validate_manifest(
    manifest: pd.DataFrame, params: Params, reference: Reference = NO_REFERENCE, evaluate: Evaluate = broken_rows
) -> tuple[Finding, ...]:
    """Run every check of ``data.modality`` against a manifest.

    Checks of severity ``quarantine`` come first, in the order of the table, each on what those before it left. All
    others see only what is left: what training would see.

    Args:
        manifest: as :func:`graft.data.manifest.build_manifest` gives it.
        params: thresholds and severities, and what checks of the modality depend on.
        reference: what the data is compared with.
        evaluate: what computes the expectations: Great Expectations, or pandas.

    Returns:
        A finding per check that applies, in the order of the table; see :func:`not_checked` for the others.

    Raises:
        ConfigError: ``validation.severity`` has a value that it cannot have.
        GraftError: Great Expectations could not compute an expectation, which is a fault of graft.
    """
    manifest = with_strata(manifest, find_task(params.data.task))
    modality, limits = find_modality(params.data.modality), params.validation
    chosen = severities(checks_of(modality), limits)
    skipped = not_checked(manifest, params, reference)
    checks = [check for check in checks_of(modality) if check.name not in skipped]
    rows = rest = relate(modality.check_columns(manifest, params), modality, limits.near_duplicate_distance)
    findings: dict[str, Finding] = {}
    # The rows whose classes are counted: all but those of a class that is left out whole.
    counted = labelled(rows)
    # Whole classes last: what leaves files out can make a class too small.
    for check in sorted(checks, key=lambda check: check.whole_class):
        if chosen[check.name] == "quarantine":
            table = classes_table(labelled(rest), labelled(rest)["label"]) if check.whole_class else images_table(rest)
            broken = evaluate(table, [check], limits)[check.name]
            left_out = _left_out(check, table, broken or (), rest)
            findings[check.name] = replace(_finding(check, limits, chosen, broken, table, rest), left_out=left_out)
            rest = rest[~rest["path"].isin(left_out)]
            if check.whole_class:
                counted = counted[~counted["label"].isin(broken or ())]
    # Drift is measured on all rows: on the rest, a changed threshold would look like drift.
    usable = manifest[manifest["problems"].isna()]
    shifts = measure_drift(reference.distributions or {}, usable, modality.drift_features)
    tables: dict[TableName, pd.DataFrame] = {
        "images": images_table(rest),
        "classes": classes_table(labelled(rest), counted["label"]),
        "class_set": class_set_table(labelled(rest), reference.classes or ()),
        "drift": drift_table(shifts, usable["path"]),
    }
    for name, table in tables.items():
        if others := [check for check in checks if check.table == name and check.name not in findings]:
            results = evaluate(table, others, limits)
            findings |= {
                check.name: _finding(check, limits, chosen, results[check.name], table, rows) for check in others
            }
    return explained([findings[check.name] for check in checks], {check.name: check.explains for check in checks})


def _left_out(check: CheckSpec, table: pd.DataFrame, broken: Sequence[str], rows: pd.DataFrame) -> tuple[str, ...]:
    """The paths that quarantine leaves out for ``broken``: of a class all, else all but those that it spares."""
    if check.whole_class:
        return tuple(rows.loc[rows["label"].isin(broken), "path"])
    exempt = set(table.loc[table[check.exempt_column], "path"]) if check.exempt_column else set()
    return tuple(path for path in broken if path not in exempt)


def _finding(
    check: CheckSpec,
    limits: Validation,
    chosen: Mapping[str, SeverityChoice],
    broken: Sequence[str] | None,
    table: pd.DataFrame,
    rows: pd.DataFrame,
) -> Finding:
    severity = chosen[check.name]
    assert severity != "ignore", "what is ignored is not checked"
    return Finding(
        check.name,
        severity,
        broken is None,
        check.says(limits),
        0 if broken is None else len(broken) or 1,
        () if broken is None else failing_items(check, broken, table, rows),
        check.remedy,
        about=ABOUT[check.table],
    )


def with_quarantine(manifest: pd.DataFrame, findings: Sequence[Finding]) -> pd.DataFrame:
    """The manifest with a column ``quarantine``: the check that leaves the file out, or missing where none does."""
    import pandas as pd

    by_path = {path: finding.check for finding in findings for path in finding.left_out}
    return manifest.assign(
        quarantine=pd.Series([by_path.get(path) for path in manifest["path"]], manifest.index, "str")
    )


def not_checked(manifest: pd.DataFrame, params: Params, reference: Reference = NO_REFERENCE) -> dict[str, str]:
    """The checks that do not apply, by name, each with the reason."""
    modality = find_modality(params.data.modality)
    limits, columns = params.validation, modality.check_columns(manifest, params).columns
    divided = bool(manifest["split"].notna().any())

    def reason(check: CheckSpec) -> str | None:
        if limits.severity.get(check.name) == "ignore":
            return f"validation.severity.{check.name} is ignore"
        if check.arguments(limits) is None:
            return f"validation.{check.name} is null"
        if check.column == "straddles" and not divided:
            return "the data does not come divided into train and test"
        if check.table == "class_set" and reference.classes is None:
            return "there is no packaged model to compare with"
        if check.table == "drift" and reference.distributions is None:
            return "there is no other validated data to compare with"
        return check.missing_reason if check.missing_reason is not None and check.column not in columns else None

    reasons = {check.name: reason(check) for check in checks_of(modality)}
    return {name: why for name, why in reasons.items() if why is not None}
