"""An examination: a source read and decoded where it lies, and held against everything the pipeline asks of it."""

from __future__ import annotations

import dataclasses
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.core.errors import DataError
from graft.core.packed_files import StoredFile
from graft.core.settings import Params
from graft.core.workspace import Workspace, user_cache
from graft.data.ingest import ingested_table, raw_paths
from graft.data.manifest import build_manifest
from graft.data.sources.label_pattern import INNERMOST_FOLDER
from graft.data.sources.listing import Sample, Skipped, SourceListing
from graft.data.sources.registry import audit_source
from graft.data.sources.split_folders import nested_classes
from graft.data.sources.tables.problems import TableChange, TableProblem
from graft.data.sources.tables.spelling import spellings
from graft.data.splits.groups import conflicting
from graft.data.splits.splits import divide
from graft.data.splits.stratified import SplitHistory, read_split_history
from graft.data.stats_cache import FactsCache
from graft.data.validation import predicates
from graft.data.validation.findings import Finding, Offender, refuses
from graft.data.validation.reference import classes_in_use, read_history, summarise_data
from graft.data.validation.suite import NOTHING, Known, validate_manifest, with_quarantine
from graft.data.validation.tables import with_conversion

if TYPE_CHECKING:
    import pandas as pd

# Where these are broken, dividing the data would only say the same once more.
_SAID_BEFORE = {"two_classes", "label_conflict"}
_TOO_FEW = "images_per_class"


@dataclass(frozen=True)
class Examination:
    """What was found in a source.

    Attributes:
        source: what was examined.
        settings: the params.yaml that was held to; None: graft's defaults.
        images: number of image files.
        classes: images per class.
        split: how many would be trained and tested on, and how many left out; empty where it is refused.
        facts: smallest and largest side, formats, whether it comes divided, for a first impression.
        skipped: what was passed over.
        findings: every expectation and whether it is met; last, whether the data can be divided.
    """

    source: str
    settings: str | None
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
            "settings": self.settings,
            "refused": self.refused,
            "images": self.images,
            "classes": self.classes,
            "split": self.split,
            "facts": self.facts,
            "skipped": [{"path": item.path, "why": item.why} for item in self.skipped],
            "findings": [finding.to_dict() for finding in self.findings],
        }


@dataclass(frozen=True)
class Settings:
    """What a source is held to.

    Attributes:
        params: thresholds, and how the data is divided.
        project: where they are from, and what the data is compared with; None: graft's defaults, and nothing.
    """

    params: Params
    project: Workspace | None = None

    @property
    def name(self) -> str | None:
        """The file that they were read from."""
        return None if self.project is None else str(self.project.params.resolve())

    @property
    def split_history(self) -> SplitHistory | None:
        """What the project's stage `split` has tested and trained on before."""
        return None if self.project is None else read_split_history(self.project.split_history)

    def known(self, manifest: pd.DataFrame) -> Known:
        """What the project's stage `validate` would compare the data with."""
        if self.project is None:
            return NOTHING
        history = read_history(self.project.validated)
        return Known(classes_in_use(self.project)[0], history.reference(summarise_data(manifest)))


@dataclass(frozen=True)
class Specimen:
    """A source that was read.

    Attributes:
        source: its name, as the user gave it.
        found: what it lists.
        samples: every image by the path it would have under data/raw.
        manifest: a row per image, with those paths.
    """

    source: str
    found: SourceListing
    samples: dict[str, Sample]
    manifest: pd.DataFrame

    def unfit(self) -> dict[StoredFile, str]:
        """The files that no training could use, and why: they cannot be decoded, or have two labels."""
        rows = self.manifest[self.manifest["problems"].notna()]
        said = dict(zip(rows["path"], rows["problems"], strict=True))
        twice = self.manifest.loc[conflicting(self.manifest), "path"]
        said |= dict.fromkeys(twice, "another file shows the same image under another label")
        return {self.samples[path].file: why for path, why in said.items()}

    def without(self, files: set[StoredFile]) -> Specimen:
        """What is left when some files are left out."""
        kept = {path: sample for path, sample in self.samples.items() if sample.file not in files}
        manifest = self.manifest[self.manifest["path"].isin(kept)].reset_index(drop=True)
        mended = dataclasses.replace(self.found, problems=(), skipped=())
        return Specimen(self.source, mended, kept, manifest)


def look(source: str, settings: Settings, root: Path | None = None) -> Specimen:
    """Scan and decode ``source``, writing nothing beside it. Facts of images are kept from look to look.

    Args:
        source: what ``data.source`` could be.
        settings: the project's cache is used, so that the pipeline need not look again; else the user's.
        root: where a relative source starts; the current folder without.

    Raises:
        DataError: there is no such source, or it lists no image.
    """
    root = Path.cwd() if root is None else root
    cache = user_cache() if settings.project is None else settings.project.cache
    with tempfile.TemporaryDirectory() as scratch:
        found = audit_source(
            source, root, Path(scratch), settings.params.data.follow_links, settings.params.data.label_from
        )
        samples = dict(zip(raw_paths(found.samples), found.samples, strict=True))
        table = ingested_table(found.samples, list(samples))
        files = [samples[path].file for path in table["path"]]
        manifest = build_manifest(table, files, cache=FactsCache(cache))
    return Specimen(source, found, samples, manifest)


def unreadable(source: str, error: DataError, settings: Settings) -> Examination:
    """The examination of what could not even be listed."""
    findings = (_from_error("source", "the data can be found", error),)
    return Examination(source, settings.name, 0, {}, {}, {}, (), findings)


def judge(specimen: Specimen, settings: Settings) -> Examination:
    """Hold what was read against every expectation, and try to divide it."""
    manifest, found, params = specimen.manifest, specimen.found, settings.params
    converted = with_conversion(manifest, params)
    checked = validate_manifest(converted, params.validation, settings.known(manifest), predicates.broken_rows)
    findings = (*_of_the_table(found), *_of_the_classes(found), *checked)
    manifest = with_quarantine(manifest, checked)
    split: dict[str, int] = {}
    said = any(finding.stops for finding in findings if finding.check in _SAID_BEFORE)
    if not said and (rows := _large_enough(manifest, findings)) is not None:
        divided = Finding(
            "divisible", "critical", True, f"it can be divided into a test and {params.select.folds} folds"
        )
        try:
            sizes = divide(rows, params, settings.split_history).table["split"].value_counts()
            left_out = len(manifest) - int(sizes.sum())
            if not refuses(findings):
                split = {"train": int(sizes["train"]), "test": int(sizes["test"]), "left_out": left_out}
        except DataError as error:
            divided = _from_error("divisible", divided.says, error)
        findings = (*findings, divided)
    return Examination(
        specimen.source,
        settings.name,
        len(manifest),
        _counts(manifest),
        split,
        _facts(manifest),
        found.skipped,
        findings,
    )


def _large_enough(manifest: pd.DataFrame, findings: Iterable[Finding]) -> pd.DataFrame | None:
    """The manifest without classes that are refused for having too few images, whose finding says all there is to say.

    None where fewer than two classes would be left.
    """
    few = {
        item.path for finding in findings if finding.check == _TOO_FEW and finding.stops for item in finding.offenders
    }
    rest = manifest[~manifest["label"].isin(manifest.loc[manifest["path"].isin(few), "label"])]
    return rest if rest["label"].nunique() > 1 or not few else None


def _of_the_table(found: SourceListing) -> tuple[Finding, ...]:
    """A table's rules as findings; what is proposed is said for each row."""
    return tuple(_finding(problem, str(found.table)) for problem in found.problems)


def _finding(problem: TableProblem, table: str) -> Finding:
    changes = problem.changes
    return Finding(
        problem.check,
        problem.severity,
        problem.met,
        problem.says,
        max(len(changes), int(problem.by_hand)),
        tuple(Offender(table, _place(change), change.sentence()) for change in changes),
        problem.remedy,
    )


def _place(change: TableChange) -> str:
    return change.path or ("(empty)" if change.row else "heading")


def _of_the_classes(found: SourceListing) -> tuple[Finding, ...]:
    """Class folders that are called the same but for case or form; a table's rules say it of a table."""
    if found.table is not None or found.watched is None:
        return ()
    labels = sorted({sample.label for sample in found.samples})
    alike = [sorted(counts) for counts in spellings(labels).values() if len(counts) > 1]
    says = "no two classes are called the same but for case, white space or Unicode form"
    named = {name: f"classes {' and '.join(map(repr, names))}" for names in alike for name in names}
    first = {sample.label: sample for sample in reversed(found.samples)}
    offenders = tuple(Offender(first[name].source, first[name].source, said) for name, said in named.items())
    remedy = "put their images into one folder, or call them something that differs in more than that"
    nested = nested_classes(found.samples)
    inner = tuple(
        Offender(first[label].source, label, f"{len(names)} sub-folders, such as {', '.join(names[:3])}")
        for label, names in nested.items()
    )
    return (
        Finding("class_names", "warning", not alike, says, len(named), offenders, remedy),
        Finding(
            "nested_folders",
            "warning",
            not nested,
            "no class folder is divided into folders, which are not read as classes",
            len(inner),
            inner,
            "nothing has to be done where they are parts of one class; where each is a class of its own (species in a "
            f"genus), set data.label_from to '{INNERMOST_FOLDER}'",
            about="class",
        ),
    )


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
        "divided": bool(manifest["split"].notna().any()),
        "formats": {str(name): int(count) for name, count in formats.items()},
    }
