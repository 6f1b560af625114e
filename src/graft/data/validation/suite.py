"""Holds the checks against a manifest: first those whose files are left out, then all others against the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graft.core.settings import SeverityChoice, Validation
from graft.data.validation.builtin_checks import CHECKS
from graft.data.validation.check_spec import ABOUT, Check, TableName, severities
from graft.data.validation.drift import Distribution, Shift, measure_drift
from graft.data.validation.expectations import broken_rows
from graft.data.validation.failing_items import Evidence, offenders
from graft.data.validation.findings import Finding, explained
from graft.data.validation.tables import class_set_table, classes_table, drift_table, images_table, labelled, relate

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Known:
    """What the data is compared with, where there is such a thing.

    Attributes:
        classes: those of the model in use.
        facts: a summary (:func:`graft.data.validation.drift.summarise_facts`) of the last validated data.
    """

    classes: tuple[str, ...] | None = None
    facts: Mapping[str, Distribution] | None = None


NOTHING = Known()
# A table, checks of it and their limits -> for each check by name the keys of the rows that broke it, or None.
Evaluate = Callable[["pd.DataFrame", Sequence[Check], Validation], dict[str, tuple[str, ...] | None]]
# Columns that a manifest need not have, and why not.
_OPTIONAL = {
    "entropy": "the manifest has no such fact",
    "cut_away": "preprocess.fit is one that cuts nothing away",
    "range_used": "no image has more than 8 bits, or image.depth_scaling is file",
}


def check_severities(limits: Validation) -> None:
    """Refuse what ``validation.severity`` must not say, which a stage wants to know before it reads images.

    Raises:
        ConfigError: an unknown check, or a severity that it cannot have.
    """
    severities(CHECKS, limits)


def validate_manifest(
    manifest: pd.DataFrame, limits: Validation, known: Known = NOTHING, evaluate: Evaluate = broken_rows
) -> tuple[Finding, ...]:
    """Hold every check of :data:`graft.data.validation.builtin_checks.CHECKS` against a manifest.

    The checks of severity ``quarantine`` come first, one after the other in the order of the table, each on what
    those before it left. All others see only what is left: what training would see.

    Args:
        manifest: as :func:`graft.data.manifest.build_manifest` gives it.
        limits: the thresholds and severities.
        known: what the data is compared with.
        evaluate: what computes the expectations; Great Expectations, or :mod:`graft.data.validation.predicates`.

    Returns:
        A finding per check that applies, in the order of the table; see :func:`not_checked` for the others.

    Raises:
        ConfigError: ``validation.severity`` says what it must not.
        GraftError: Great Expectations could not compute an expectation, which is a fault of graft.
    """
    chosen = severities(CHECKS, limits)
    skipped = not_checked(manifest, limits, known)
    checks = [check for check in CHECKS if check.name not in skipped]
    rows = rest = relate(manifest, limits.near_duplicate_distance)
    findings: dict[str, Finding] = {}
    # The images whose classes are counted: all but those of a class that is left out whole.
    counted = labelled(rows)
    # Classes last: what leaves files out can make a class too small.
    for check in sorted(checks, key=lambda check: check.whole_class):
        if chosen[check.name] == "quarantine":
            findings[check.name] = finding = _quarantine(check, chosen, rest, limits, evaluate)
            rest = rest[~rest["path"].isin(finding.left_out)]
            if check.whole_class:
                counted = counted[~counted["label"].isin(_classes_of(finding, counted))]
    others = [check for check in checks if check.name not in findings]
    # What drifted is asked of all images: were it asked of the rest, a changed threshold would look like drift.
    shifts, examples = _drift(manifest, known)
    tables: dict[TableName, pd.DataFrame] = {
        "images": images_table(rest),
        "classes": classes_table(labelled(rest), counted["label"]),
        "class_set": class_set_table(labelled(rest), known.classes or ()),
        "drift": drift_table(shifts),
    }
    seen = Evidence(tables, rows, examples)
    for name, table in tables.items():
        of_table = {check.name: check for check in others if check.table == name}
        for check_name, broken in evaluate(table, list(of_table.values()), limits).items():
            findings[check_name] = _finding(of_table[check_name], chosen, broken, seen, limits)
    return explained([findings[check.name] for check in checks], {check.name: check.explains for check in CHECKS})


def with_quarantine(manifest: pd.DataFrame, findings: Sequence[Finding]) -> pd.DataFrame:
    """The manifest with a column ``quarantine``: the check that leaves the file out, or missing where none does."""
    import pandas as pd

    by_path = {path: finding.check for finding in findings for path in finding.left_out}
    return manifest.assign(
        quarantine=pd.Series([by_path.get(path) for path in manifest["path"]], manifest.index, "str")
    )


def not_checked(manifest: pd.DataFrame, limits: Validation, known: Known = NOTHING) -> dict[str, str]:
    """The checks that do not apply, by name, each with the reason."""
    chosen = severities(CHECKS, limits)
    reasons = {check.name: _why_not(check, chosen[check.name], manifest, limits, known) for check in CHECKS}
    return {name: why for name, why in reasons.items() if why is not None}


def _why_not(
    check: Check, severity: SeverityChoice, manifest: pd.DataFrame, limits: Validation, known: Known
) -> str | None:
    if severity == "ignore":
        return f"validation.severity.{check.name} is ignore"
    if check.arguments(limits) is None:
        return f"validation.{check.name} is null"
    if check.column == "straddles" and not manifest["split"].notna().any():
        return "the data does not come divided into train and test"
    if check.table == "class_set" and known.classes is None:
        return "there is no packaged model to compare with"
    if check.table == "drift" and known.facts is None:
        return "there is no other validated data to compare with"
    if check.column in _OPTIONAL and check.column not in manifest:
        return _OPTIONAL[check.column]
    return None


def _quarantine(
    check: Check, chosen: Mapping[str, SeverityChoice], rows: pd.DataFrame, limits: Validation, evaluate: Evaluate
) -> Finding:
    """The finding of a check that leaves out the files that break it, but for those that it spares."""
    if check.whole_class:
        return _quarantine_classes(check, chosen, rows, limits, evaluate)
    table = images_table(rows)
    broken = evaluate(table, [check], limits)[check.name]
    finding = _finding(check, chosen, broken, Evidence({"images": table}, rows, {}), limits)
    spared = set(table.loc[table[check.spared], "path"]) if check.spared else set()
    left_out = tuple(item.path for item in finding.offenders if item.path not in spared)
    return finding.leaving_out(left_out)


def _quarantine_classes(
    check: Check, chosen: Mapping[str, SeverityChoice], rows: pd.DataFrame, limits: Validation, evaluate: Evaluate
) -> Finding:
    """The finding of a check that leaves out whole classes; every image of theirs is named."""
    table = classes_table(labelled(rows), labelled(rows)["label"])
    broken = evaluate(table, [check], limits)[check.name]
    finding = _finding(check, chosen, broken, Evidence({"classes": table}, rows, {}), limits)
    return finding.leaving_out(tuple(rows.loc[rows["label"].isin(broken or ()), "path"]))


def _classes_of(finding: Finding, rows: pd.DataFrame) -> set[str]:
    return set(rows.loc[rows["path"].isin(finding.left_out), "label"])


def _drift(manifest: pd.DataFrame, known: Known) -> tuple[tuple[Shift, ...], dict[str, str]]:
    """What drifted, and for each fact the path of an image that shows it."""
    rows = manifest[manifest["problems"].isna()]
    shifts = measure_drift(known.facts or {}, rows)
    return shifts, {shift.fact: str(rows["path"].iloc[shift.example]) for shift in shifts}


def _finding(
    check: Check,
    chosen: Mapping[str, SeverityChoice],
    broken: Sequence[str] | None,
    seen: Evidence,
    limits: Validation,
) -> Finding:
    severity = chosen[check.name]
    assert severity != "ignore", "what is ignored is not checked"
    return Finding(
        check.name,
        severity,
        broken is None,
        check.says(limits),
        0 if broken is None else len(broken) or 1,
        () if broken is None else offenders(check, broken, seen),
        check.remedy,
        about=ABOUT[check.table],
    )
