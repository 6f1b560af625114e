"""The audit of a source: read and decoded where it is, and checked against everything the pipeline asks of it."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.core.errors import DataError
from graft.core.packed_files import StoredFile
from graft.core.settings import Params
from graft.core.workspace import Workspace, user_cache
from graft.data.doctor.source_findings import from_error, source_findings
from graft.data.ingest import table_in_place
from graft.data.manifest import build_manifest, with_keys
from graft.data.sources.listing import Skipped, SourceListing, SourceSpec
from graft.data.sources.registry import audit_source
from graft.data.splits.groups import conflicting
from graft.data.splits.history import read_split_history
from graft.data.splits.splits import divide
from graft.data.stats_cache import StatsCache
from graft.data.validation.expectations import broken_rows_by_pandas
from graft.data.validation.findings import Finding, refuses
from graft.data.validation.reference import read_history, summarise_data
from graft.data.validation.suite import NO_REFERENCE, Reference, validate_manifest, with_quarantine
from graft.modalities.base import Modality
from graft.modalities.registry import find_modality
from graft.tasks.registry import find_task

if TYPE_CHECKING:
    import pandas as pd

# Where these are broken, dividing the data would only say the same once more.
_SAID_BEFORE = {"two_classes", "label_conflict"}
_TOO_FEW = "images_per_class"


@dataclass(frozen=True)
class AuditSettings:
    """What a source is checked against.

    Attributes:
        params: thresholds, and how the data is divided.
        project: where they are from, and what the data is compared with; None: graft's defaults, and nothing.
        model_classes: those of the project's packaged model.
    """

    params: Params
    project: Workspace | None = None
    model_classes: tuple[str, ...] | None = None

    @property
    def name(self) -> str | None:
        """The file that they were read from."""
        return None if self.project is None else str(self.project.params.resolve())

    @property
    def modality(self) -> Modality:
        """That of ``data.modality``."""
        return find_modality(self.params.data.modality)

    def reference(self, manifest: pd.DataFrame) -> Reference:
        """What the project's stage `validate` would compare the data with."""
        if self.project is None:
            return NO_REFERENCE
        data = summarise_data(manifest, self.modality, find_task(self.params.data.task))
        return Reference(self.model_classes, read_history(self.project.validated).reference(data))


@dataclass(frozen=True)
class Audit:
    """What was found in a source.

    Attributes:
        source: what was audited.
        settings: the params.yaml whose settings apply; None: graft's defaults.
        images: number of files.
        classes: files per class.
        split: how many would be trained and tested on, and how many left out; empty where training is refused.
        facts: smallest and largest side, formats, whether it comes divided; empty where it cannot be listed.
        skipped: what was skipped.
        findings: every check and whether it is met; last, whether the data can be divided.
    """

    source: str
    settings: str | None
    images: int = 0
    classes: dict[str, int] = field(default_factory=dict)
    split: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def refused(self) -> bool:
        """Would training on this data be refused?"""
        return refuses(self.findings)

    def to_json(self) -> dict[str, Any]:
        """For programs; the same findings as validation.json."""
        return {
            "source": self.source,
            "settings": self.settings,
            "refused": self.refused,
            "images": self.images,
            "classes": self.classes,
            "split": self.split,
            "facts": self.facts,
            "skipped": [dataclasses.asdict(item) for item in self.skipped],
            "findings": [finding.to_dict() for finding in self.findings],
        }


@dataclass(frozen=True)
class LoadedSource:
    """A source that was read: a row of the manifest for each file (by the path it would have under data/raw), and where
    that lies."""

    source: str
    found: SourceListing
    manifest: pd.DataFrame
    files: list[StoredFile]

    def unusable_files(self, modality: Modality) -> dict[StoredFile, str]:
        """The files that no training could use, and why: they cannot be decoded, or have two labels."""
        twice = conflicting(with_keys(self.manifest, modality))
        reasons = self.manifest["problems"].mask(twice, "another file shows the same image under another label")
        return {self.files[row]: why for row, why in enumerate(reasons) if isinstance(why, str)}

    def without(self, files: set[StoredFile]) -> LoadedSource:
        """What is left when some files are left out."""
        kept = [row for row, file in enumerate(self.files) if file not in files]
        found = dataclasses.replace(self.found, problems=(), skipped=())
        manifest = self.manifest.iloc[kept].reset_index(drop=True)
        return LoadedSource(self.source, found, manifest, [self.files[row] for row in kept])


def load(source: str, settings: AuditSettings, root: Path | None = None) -> LoadedSource:
    """List and decode ``source``; a relative one starts at ``root``, or in the current folder.

    Nothing is written but the cache of statistics: the project's, so that the pipeline need not decode again, or else
    the user's.

    Raises:
        DataError: there is no such source, or it lists no file.
    """
    data = dataclasses.replace(settings.params.data, source=source)
    cache = user_cache() if settings.project is None else settings.project.cache
    with tempfile.TemporaryDirectory() as scratch:
        found = audit_source(SourceSpec.from_settings(data, root or Path.cwd(), Path(scratch)))
        table, files = table_in_place(found.samples)
        manifest = build_manifest(table, files, settings.modality, cache=StatsCache(cache))
    return LoadedSource(source, found, manifest, files)


def audit(loaded: LoadedSource, settings: AuditSettings) -> Audit:
    """Run every check on what was read, and try to divide it."""
    manifest = loaded.manifest
    checked = validate_manifest(manifest, settings.params, settings.reference(manifest), broken_rows_by_pandas)
    findings = (*source_findings(loaded.found), *checked)
    divisible, split = _divide(with_quarantine(manifest, checked), findings, settings)
    return Audit(
        loaded.source,
        settings.name,
        len(manifest),
        {str(label): int(count) for label, count in manifest["label"].value_counts().sort_index().items()},
        split,
        _overview(manifest),
        loaded.found.skipped,
        (*findings, *divisible),
    )


def _divide(
    manifest: pd.DataFrame, findings: tuple[Finding, ...], settings: AuditSettings
) -> tuple[tuple[Finding, ...], dict[str, int]]:
    """Whether the data can be divided (no finding where others say so), and how many images fall to which side."""
    rows = _large_enough(manifest, findings)
    if rows is None or any(finding.stops for finding in findings if finding.check in _SAID_BEFORE):
        return (), {}
    says = f"it can be divided into a test and {settings.params.select.folds} folds"
    try:
        history = None if settings.project is None else read_split_history(settings.project.split_history)
        sizes = divide(rows, settings.params, history).table["split"].value_counts()
    except DataError as error:
        return (from_error("divisible", says, error),), {}
    split = {"train": int(sizes["train"]), "test": int(sizes["test"]), "left_out": len(manifest) - int(sizes.sum())}
    return (Finding("divisible", "critical", True, says),), {} if refuses(findings) else split


def _large_enough(manifest: pd.DataFrame, findings: Iterable[Finding]) -> pd.DataFrame | None:
    """The manifest without classes that are refused for having too few images, whose finding says all there is to say.

    None where fewer than two classes would be left.
    """
    few = {item.path for finding in findings if finding.check == _TOO_FEW and finding.stops for item in finding.failing}
    rest = manifest[~manifest["label"].isin(manifest.loc[manifest["path"].isin(few), "label"])]
    return rest if rest["label"].nunique() > 1 or not few else None


def _overview(manifest: pd.DataFrame) -> dict[str, Any]:
    """What there is to see of any modality, and of images their sides and formats."""
    facts: dict[str, Any] = {"divided": bool(manifest["split"].notna().any())}
    if {"width", "height"} <= set(manifest.columns):
        sides = manifest[["width", "height"]].dropna().to_numpy(dtype=int)
        facts["smallest_side"] = int(sides.min()) if len(sides) else None
        facts["largest_side"] = int(sides.max()) if len(sides) else None
        formats = manifest["format"].dropna().value_counts()
        facts["formats"] = {str(name): int(count) for name, count in formats.items()}
    return facts
