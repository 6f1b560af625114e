"""The report of a validation: validation.json for programs, and one self-contained page for people."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.core.files import write_json, write_text
from graft.data.manifest import usable
from graft.data.validation.findings import Finding, by_cause, refuses

if TYPE_CHECKING:
    import pandas as pd

JSON_FILE, PAGE_FILE, QUARANTINE_FILE = "validation.json", "index.html", "quarantine.csv"
PREVIEWS = 24


@dataclass(frozen=True)
class Summary:
    """What was validated, for the head of the report.

    Attributes:
        source: the value of data.source.
        images: number of image files.
        classes: images per class.
        undecodable: how many files cannot be decoded.
        quarantined: path, source, label and check of every file that is left out.
        not_checked: why, for each check that does not apply.
    """

    source: str
    images: int
    classes: dict[str, int]
    undecodable: int
    quarantined: tuple[tuple[str, str, str, str], ...] = ()
    not_checked: Mapping[str, str] = field(default_factory=dict)


def summarise(manifest: pd.DataFrame, source: str, not_checked: Mapping[str, str] | None = None) -> Summary:
    """The head of the report for a manifest; classes are counted by the images that can be used."""
    counts = usable(manifest)["label"].value_counts()
    classes = {str(label): int(counts.get(label, 0)) for label in sorted(manifest["label"].dropna().unique())}
    quarantined: tuple[tuple[str, str, str, str], ...] = ()
    if "quarantine" in manifest:
        left_out = manifest[manifest["quarantine"].notna()]
        quarantined = tuple(
            left_out[["path", "source", "label", "quarantine"]].fillna("").itertuples(index=False, name=None)
        )
    return Summary(
        source, len(manifest), classes, int(manifest["problems"].notna().sum()), quarantined, dict(not_checked or {})
    )


def write_report(folder: Path, summary: Summary, findings: Sequence[Finding], preview: Callable[[str], str]) -> None:
    """Write all files into ``folder``, each whole.

    Args:
        folder: reports/validation.
        summary: what was validated.
        findings: the results.
        preview: a file's path -> HTML that shows it, empty where it cannot be decoded.
    """
    write_json(folder / JSON_FILE, as_json(summary, findings))
    write_text(folder / QUARANTINE_FILE, quarantine_table(summary, findings))
    write_text(folder / PAGE_FILE, render_page(summary, findings, preview))


def as_json(summary: Summary, findings: Sequence[Finding]) -> dict[str, Any]:
    """The content of validation.json."""
    broken = Counter(finding.severity for finding in findings if not finding.success)
    return {
        "success": not refuses(findings),
        "source": summary.source,
        "images": summary.images,
        "undecodable": summary.undecodable,
        "classes": summary.classes,
        "broken": {name: broken.get(name, 0) for name in ("critical", "quarantine", "warning")},
        "quarantined": [path for path, *_ in summary.quarantined],
        "not_checked": dict(summary.not_checked),
        "expectations": [finding.to_dict() for finding in findings],
    }


def quarantine_table(summary: Summary, findings: Sequence[Finding]) -> str:
    """A row of CSV per file that is left out: its paths, label, the check that leaves it out, and what it found."""
    found = {(finding.check, item.path): item.value for finding in findings for item in finding.failing}
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("path", "source", "label", "check", "found"))
    rows.writerows((*row, found.get((row[3], row[0]), "")) for row in summary.quarantined)
    return text.getvalue()


def render_page(summary: Summary, findings: Sequence[Finding], preview: Callable[[str], str]) -> str:
    """The page as HTML that needs nothing else: styles inside, pictures as data."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("graft.data.validation", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    largest = max(summary.classes.values(), default=1)
    return environment.get_template("page.html.j2").render(
        summary=summary,
        unit=_unit,
        refused=refuses(findings),
        broken=[
            (finding, [(item, preview(item.path) if item.path else "") for item in finding.failing[:PREVIEWS]])
            for finding in by_cause(findings)
        ],
        met=[item for item in findings if item.success],
        bars=[(name, count, round(100 * count / max(1, largest), 1)) for name, count in summary.classes.items()],
    )


def _unit(finding: Finding) -> str:
    """What the count of a finding counts, in the number that fits."""
    plural = {"file": "files", "class": "classes", "feature": "features"}
    return finding.about if finding.count == 1 else plural[finding.about]
