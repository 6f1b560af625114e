"""The report of a validation: validation.json for programs, and one self-contained page for people."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.errors import DataError
from graft.files import write_json, write_text
from graft.images.decode import decode
from graft.images.manifest import usable
from graft.validation.findings import Finding, refuses

if TYPE_CHECKING:
    import pandas as pd

JSON_FILE, PAGE_FILE = "validation.json", "index.html"
PICTURES_PER_FINDING = 24
PICTURE_SIDE = 112


@dataclass(frozen=True)
class Summary:
    """What was validated, for the head of the report.

    Attributes:
        source: the value of data.source.
        images: number of image files.
        classes: images per class.
        undecodable: how many files cannot be decoded.
    """

    source: str
    images: int
    classes: dict[str, int]
    undecodable: int


def summarise(manifest: pd.DataFrame, source: str) -> Summary:
    """The head of the report for a manifest; classes are counted by the images that can be decoded."""
    counts = usable(manifest)["label"].value_counts()
    classes = {str(label): int(counts.get(label, 0)) for label in sorted(manifest["label"].dropna().unique())}
    return Summary(source, len(manifest), classes, int(manifest["problems"].notna().sum()))


def write_report(folder: Path, summary: Summary, findings: Sequence[Finding], locate: Callable[[str], Path]) -> None:
    """Write both files into ``folder``, each whole.

    Args:
        folder: reports/validation.
        summary: what was validated.
        findings: the results.
        locate: a finding's path -> where the image lies, for its picture.
    """
    write_json(folder / JSON_FILE, as_json(summary, findings))
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
        "quarantined": [
            item.path
            for finding in findings
            if not finding.success and finding.severity == "quarantine"
            for item in finding.offenders
        ],
        "expectations": [finding.to_dict() for finding in findings],
    }


def render_page(summary: Summary, findings: Sequence[Finding], locate: Callable[[str], Path]) -> str:
    """The page as HTML that needs nothing else: styles inside, pictures as data."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("graft.validation", ""), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    order = {"critical": 0, "quarantine": 1, "warning": 2}
    broken = sorted((item for item in findings if not item.success), key=lambda item: order[item.severity])
    largest = max(summary.classes.values(), default=1)
    return environment.get_template("page.html.j2").render(
        summary=summary,
        refused=refuses(findings),
        broken=[
            (item, [(o, thumbnail(locate(o.path))) for o in item.offenders[:PICTURES_PER_FINDING]]) for item in broken
        ],
        met=[item for item in findings if item.success],
        bars=[(name, count, round(100 * count / max(1, largest), 1)) for name, count in summary.classes.items()],
    )


def thumbnail(path: Path) -> str | None:
    """A small picture as a data address, or None where the file cannot be decoded."""
    try:
        image = decode(path, least_side=PICTURE_SIDE)
    except DataError:
        return None
    image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
