"""What is wrong with this folder of images: the pipeline's own checks, run on it without a workspace."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.config import Candidate, Params, Zoo
from graft.errors import DataError
from graft.images.intake import raw_paths, table_of
from graft.images.manifest import build_manifest
from graft.images.records import Found, Skipped
from graft.images.sources import find_images
from graft.images.splits import make_splits
from graft.validation.findings import Finding, refuses
from graft.validation.suite import validate_manifest, with_quarantine

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

_MARKS = {"critical": "bold red", "quarantine": "magenta", "warning": "yellow"}
_FILES_SHOWN = 5
# Where these are broken, dividing the data would only say the same once more.
_SAID_BEFORE = {"two_classes", "label_conflict"}


@dataclass(frozen=True)
class Examination:
    """What was found in a source.

    Attributes:
        source: what was examined.
        images: number of image files.
        classes: images per class.
        split: how many would be trained and tested on, and how many left out; empty where it is refused.
        facts: smallest and largest side, formats, for a first impression.
        skipped: what was passed over.
        findings: every expectation and whether it is met; last, whether the data can be divided.
    """

    source: str
    images: int
    classes: dict[str, int]
    split: dict[str, int]
    facts: dict[str, Any]
    skipped: tuple[Skipped, ...]
    findings: tuple[Finding, ...]

    @property
    def refused(self) -> bool:
        """Would training on this data be refused?"""
        return refuses(self.findings)

    def to_json(self) -> dict[str, Any]:
        """For programs; the same findings as validation.json."""
        return {
            "source": self.source,
            "refused": self.refused,
            "images": self.images,
            "classes": self.classes,
            "split": self.split,
            "facts": self.facts,
            "skipped": [{"path": item.path, "why": item.why} for item in self.skipped],
            "findings": [finding.to_dict() for finding in self.findings],
        }


def default_params() -> Params:
    """The defaults of params.yaml, for where there is none; the candidate in it stands for any."""
    return Params(zoo=Zoo(candidates=(Candidate(arch="resnet18", weights="none"),)))


def examine(source: str, params: Params, root: Path | None = None) -> Examination:
    """Scan, decode and check ``source`` as the pipeline would, writing nothing beside it.

    Never raises for bad data: what the pipeline would raise is a critical finding.
    """
    root = Path.cwd() if root is None else root
    with tempfile.TemporaryDirectory() as scratch:
        try:
            found = find_images(source, root, Path(scratch))
        except DataError as error:
            return Examination(source, 0, {}, {}, {}, (), (_from_error("source", "the data can be found", error),))
        manifest = _manifest(found)
        findings = validate_manifest(manifest, params.validation)
        manifest = with_quarantine(manifest, findings)
    split: dict[str, int] = {}
    if any(finding.stops for finding in findings if finding.check in _SAID_BEFORE):
        return Examination(source, len(manifest), _counts(manifest), split, _facts(manifest), found.skipped, findings)
    divided = Finding("divisible", "critical", True, f"it can be divided into a test and {params.select.folds} folds")
    try:
        sizes = make_splits(manifest, params)["split"].value_counts()
        split = {"train": int(sizes["train"]), "test": int(sizes["test"]), "left_out": len(manifest) - int(sizes.sum())}
    except DataError as error:
        divided = _from_error("divisible", divided.says, error)
    return Examination(
        source, len(manifest), _counts(manifest), split, _facts(manifest), found.skipped, (*findings, divided)
    )


def doctor(source: str, as_json: bool, params: Params | None = None) -> int:
    """Examine ``source``, print what was found, and return 0, or 1 where training on it would be refused."""
    examination = examine(source, params or default_params())
    if as_json:
        json.dump(examination.to_json(), sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
        sys.stdout.write("\n")
    else:
        from rich.console import Console

        show(examination, Console(highlight=False, soft_wrap=True))
    return 1 if examination.refused else 0


def show(examination: Examination, console: Console) -> None:
    """Print for a person: what it is, what was passed over, what is wrong and what to do, and the verdict."""
    from rich.markup import escape

    console.print(f"[bold]{escape(examination.source)}[/bold]: {_overview(examination)}")
    for name, count in list(examination.classes.items())[:20]:
        console.print(f"  {count:>7}  {escape(name)}")
    if len(examination.classes) > 20:
        console.print(f"           and {len(examination.classes) - 20} more classes")
    for why, count in sorted(Counter(item.why for item in examination.skipped).items()):
        example = next(item.path for item in examination.skipped if item.why == why)
        console.print(f"[dim]passed over: {count} ({why}), such as {escape(example)}[/dim]")
    for finding in sorted(
        (item for item in examination.findings if not item.success), key=lambda item: list(_MARKS).index(item.severity)
    ):
        console.print(
            f"\n[{_MARKS[finding.severity]}]{finding.severity}[/] {finding.check}: expected that {escape(finding.says)}"
        )
        for item in finding.offenders[:_FILES_SHOWN]:
            console.print(f"    {escape(item.source)}  [dim]{escape(item.value)}[/dim]")
        if len(finding.offenders) > _FILES_SHOWN:
            console.print(f"    and {len(finding.offenders) - _FILES_SHOWN} more files (all of them with --json)")
        if finding.remedy:
            console.print(f"  remedy: {escape(finding.remedy)}")
    console.print("\n" + _verdict(examination))


def _overview(examination: Examination) -> str:
    facts = examination.facts
    if not facts:
        return f"{examination.images} images"
    sides = f"{facts['smallest_side']} to {facts['largest_side']} px" if facts["smallest_side"] else "none readable"
    formats = ", ".join(f"{count} {name}" for name, count in facts["formats"].items())
    return f"{examination.images} images of {len(examination.classes)} classes, {sides}" + (
        f" ({formats})" if formats else ""
    )


def _verdict(examination: Examination) -> str:
    if examination.refused:
        return "[bold red]Training on this data would be refused.[/] Mend what is marked critical first."
    split = examination.split
    left_out = f", {split['left_out']} left out" if split["left_out"] else ""
    warned = any(not finding.success for finding in examination.findings)
    return (
        f"[bold green]Training on this data would go ahead[/]: {split['train']} images to train on, "
        f"{split['test']} to test on{left_out}." + (" Look at the findings above." if warned else "")
    )


def _manifest(found: Found) -> pd.DataFrame:
    """The manifest of a source where it lies; paths are those it would have under data/raw."""
    files = dict(zip(raw_paths(found.records), (record.file for record in found.records), strict=True))
    table = table_of(found.records, list(files))
    return build_manifest(table, [files[path] for path in table["path"]])


def _from_error(check: str, says: str, error: DataError) -> Finding:
    where = f" ({error.where})" if error.where else ""
    return Finding(check, "critical", False, f"{says}, but {error.what}{where}", 1, (), error.remedy or "")


def _counts(manifest: pd.DataFrame) -> dict[str, int]:
    return {str(label): int(count) for label, count in sorted(Counter(manifest["label"]).items())}


def _facts(manifest: pd.DataFrame) -> dict[str, Any]:
    sides = manifest[["width", "height"]].min(axis=1).dropna(), manifest[["width", "height"]].max(axis=1).dropna()
    formats = manifest["format"].dropna().value_counts()
    return {
        "smallest_side": int(sides[0].min()) if len(sides[0]) else None,
        "largest_side": int(sides[1].max()) if len(sides[1]) else None,
        "formats": {str(name): int(count) for name, count in formats.items()},
    }
