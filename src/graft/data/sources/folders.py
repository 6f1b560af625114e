"""A folder of class folders, or one with train, val and test folders that hold class folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

from graft.core.errors import DataError
from graft.data.sources.label_pattern import check_class_folders, label_by_pattern
from graft.data.sources.listing import Sample, Skipped, SourceListing
from graft.data.sources.scan import ScanScope, list_dir, scan, skipped_folder_reason
from graft.data.sources.split_folders import label_by_folders
from graft.modalities.base import Modality
from graft.modalities.registry import DEFAULT


def read_folder(
    folder: Path, follow_links: bool = False, label_from: str | None = None, modality: Modality = DEFAULT
) -> SourceListing:
    """List the samples of a folder of class folders, or of split folders that hold class folders.

    Args:
        folder: the source.
        follow_links: read links out of the folder too; the others are passed over either way.
        label_from: the value of ``data.label_from``; without, the class folders are the labels.
        modality: what kind of file is looked for.

    Raises:
        DataError: the folder cannot be listed, it has a test folder but no train folder, what it holds can be
            read as classes and as splits, or no folder of it is called as a class could be.
    """
    scope = ScanScope(folder.resolve(), follow_links, modality)
    skipped: list[Skipped] = []
    tops = [scope.root] if label_from is not None else _class_folders(scope, skipped)
    files: dict[PurePosixPath, Path] = {}
    for top in tops:
        for item in scan(top, scope):
            if isinstance(item, Skipped):
                skipped.append(item)
            else:
                files[PurePosixPath(item.relative_to(scope.root).as_posix())] = item
    if label_from is not None:
        samples = label_by_pattern(label_from, [(scope.name(file), file) for file in files.values()], skipped)
    else:
        skipped += _empty_folders(tops, files, skipped, scope)
        samples = label_by_folders(
            files,
            scope.root,
            skipped,
            lambda top: f"name the inner folder instead: {scope.root / top}",
            [top.name for top in tops if _holds_folders_only(top, files, scope)],
        )
        check_class_folders(samples, scope.root)
    return SourceListing(
        tuple(sorted(samples, key=lambda sample: sample.source)),
        tuple(sorted(skipped, key=lambda item: item.path)),
        watched=scope.root,
        linked=_outside_folder(samples, scope.root),
    )


def _class_folders(scope: ScanScope, skipped: list[Skipped]) -> list[Path]:
    """Top-level folders; other entries are added to ``skipped``."""
    entries, trouble = list_dir(scope.root)
    if trouble:
        raise DataError(f"the folder {trouble}", where=scope.root, remedy="check that it may be read")
    folders = []
    for entry in entries:
        if why := skipped_folder_reason(entry, scope):
            skipped.append(Skipped(scope.name(Path(entry.path)), why))
        else:
            folders.append(Path(entry.path))
    return folders


def _empty_folders(
    tops: Iterable[Path], files: Mapping[PurePosixPath, Path], skipped: Iterable[Skipped], scope: ScanScope
) -> list[Skipped]:
    told = {path.parts[0] for path in files} | {item.path for item in skipped}
    return [Skipped(scope.name(top), "a class folder without images") for top in tops if top.name not in told]


def _holds_folders_only(top: Path, files: Iterable[PurePosixPath], scope: ScanScope) -> bool:
    """Whether a folder has class folders, but no image in any of them."""
    if any(path.parts[0] == top.name for path in files):
        return False
    return any(skipped_folder_reason(entry, scope) is None for entry in list_dir(top)[0])


def _outside_folder(samples: list[Sample], root: Path) -> Path | None:
    """The first folder of images that a link leads to outside of ``root``, or None."""
    folders = sorted({sample.file.parent for sample in samples if isinstance(sample.file, Path)})
    return next((folder for folder in folders if not folder.resolve().is_relative_to(root)), None)
