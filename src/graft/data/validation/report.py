"""The report of a validation: validation.json for programs, a table of what is left out, and one page for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.core.files import write_json, write_text
from graft.data.manifest import usable
from graft.data.validation.findings import Finding, by_cause, refuses

if TYPE_CHECKING:
    import pandas as pd

JSON_FILE, PAGE_FILE, QUARANTINE_FILE = "validation.json", "index.html", "quarantine.csv"
PREVIEWS = 24
_PLURAL = {"file": "files", "class": "classes", "feature": "features"}

# A file's path -> HTML that shows it, empty where it cannot be decoded.
Preview = Callable[[str], str]


def write_report(
    folder: Path, manifest: pd.DataFrame, summary: Mapping[str, Any], findings: Sequence[Finding], preview: Preview
) -> None:
    """Write all files into ``folder`` (reports/validation), each whole; ``manifest`` has its column ``quarantine``."""
    write_json(folder / JSON_FILE, {**summary, "expectations": [finding.to_dict() for finding in findings]})
    write_text(folder / QUARANTINE_FILE, quarantine_table(manifest, findings))
    write_text(folder / PAGE_FILE, render_page(summary, findings, preview))


def summarise(
    manifest: pd.DataFrame, source: str, findings: Sequence[Finding], not_checked: Mapping[str, str]
) -> dict[str, Any]:
    """The head of validation.json and of the page; classes are counted by the images that can be used.

    ``not_checked`` says of each check that does not apply why.
    """
    counts = usable(manifest)["label"].value_counts()
    broken = Counter(finding.severity for finding in findings if not finding.success)
    return {
        "success": not refuses(findings),
        "source": source,
        "images": len(manifest),
        "undecodable": int(manifest["problems"].notna().sum()),
        "classes": {str(name): int(counts.get(name, 0)) for name in sorted(manifest["label"].dropna().unique())},
        "broken": {name: broken.get(name, 0) for name in ("critical", "quarantine", "warning")},
        "quarantined": manifest.loc[manifest["quarantine"].notna(), "path"].tolist(),
        "not_checked": dict(not_checked),
    }


def quarantine_table(manifest: pd.DataFrame, findings: Sequence[Finding]) -> str:
    """A row of CSV per file that is left out: its paths, label, the check that leaves it out, and what it found."""
    found = {(finding.check, item.path): item.value for finding in findings for item in finding.failing}
    rows = manifest.loc[manifest["quarantine"].notna(), ["path", "source", "label", "quarantine"]]
    values = [found.get(key, "") for key in zip(rows["quarantine"], rows["path"], strict=True)]
    return rows.rename(columns={"quarantine": "check"}).assign(found=values).to_csv(index=False, lineterminator="\n")


def render_page(summary: Mapping[str, Any], findings: Sequence[Finding], preview: Preview) -> str:
    """The page as HTML that needs nothing else: styles inside, pictures as data."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("graft.data.validation", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    largest = max(1, *summary["classes"].values())
    return environment.get_template("page.html.j2").render(
        summary=summary,
        unit=_unit,
        refused=refuses(findings),
        broken=[
            (finding, [(item, preview(item.path) if item.path else "") for item in finding.failing[:PREVIEWS]])
            for finding in by_cause(findings)
        ],
        met=[item for item in findings if item.success],
        bars=[(name, count, round(100 * count / largest, 1)) for name, count in summary["classes"].items()],
    )


def _unit(finding: Finding) -> str:
    """What the count of a finding counts, in the number that fits."""
    return finding.about if finding.count == 1 else _PLURAL[finding.about]
