"""The report of a validation: validation.json for programs, and one self-contained page for people."""

from __future__ import annotations

import base64
import csv
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.core.errors import DataError
from graft.core.files import write_json, write_text
from graft.core.packed_files import StoredFile
from graft.data.manifest import usable
from graft.data.validation.findings import Finding, by_cause, refuses
from graft.modalities.image.decode import decode

if TYPE_CHECKING:
    import pandas as pd

JSON_FILE, PAGE_FILE, QUARANTINE_FILE = "validation.json", "index.html", "quarantine.csv"
PICTURES_PER_FINDING = 24
PICTURE_SIDE = 144
TINY_SIDE = 32


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


def write_report(
    folder: Path, summary: Summary, findings: Sequence[Finding], locate: Callable[[str], StoredFile]
) -> None:
    """Write all files into ``folder``, each whole.

    Args:
        folder: reports/validation.
        summary: what was validated.
        findings: the results.
        locate: a finding's path -> where the image lies, for its picture.
    """
    write_json(folder / JSON_FILE, as_json(summary, findings))
    write_text(folder / QUARANTINE_FILE, quarantine_table(summary, findings))
    write_text(folder / PAGE_FILE, render_page(summary, findings, locate))


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
    found = {(item.check, offender.path): offender.value for item in findings for offender in item.offenders}
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("path", "source", "label", "check", "found"))
    rows.writerows((*row, found.get((row[3], row[0]), "")) for row in summary.quarantined)
    return text.getvalue()


def render_page(summary: Summary, findings: Sequence[Finding], locate: Callable[[str], StoredFile]) -> str:
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
            (item, [(o, thumbnail(locate(o.path)) if o.path else None) for o in item.offenders[:PICTURES_PER_FINDING]])
            for item in by_cause(findings)
        ],
        met=[item for item in findings if item.success],
        bars=[(name, count, round(100 * count / max(1, largest), 1)) for name, count in summary.classes.items()],
    )


def _unit(finding: Finding) -> str:
    """What the count of a finding counts, in the number that fits."""
    plural = {"file": "files", "class": "classes", "fact": "facts"}
    return finding.about if finding.count == 1 else plural[finding.about]


@dataclass(frozen=True)
class Picture:
    """A thumbnail.

    Attributes:
        address: the picture itself, as a ``data:`` address.
        tiny: the image has so few pixels on a side that they are to be seen one by one.
    """

    address: str
    tiny: bool


def thumbnail(path: StoredFile) -> Picture | None:
    """A small picture, or None where the file cannot be decoded."""
    try:
        image = decode(path, least_side=PICTURE_SIDE, depth_range=None)
    except DataError:
        return None
    tiny = min(image.size) < TINY_SIDE
    image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=80)
    return Picture("data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii"), tiny)
