"""A folder of class folders, or one with train, val and test folders that hold class folders."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from graft.core.errors import DataError
from graft.data.sources.labels import label_by_folders, label_by_pattern
from graft.data.sources.listing import Sample, Skipped, SourceListing, SourceSpec, in_order
from graft.data.sources.scan import ScanScope, list_dir, scan, skipped_folder_reason


def read_folder(spec: SourceSpec) -> SourceListing:
    """List the samples of a folder of class folders, or of split folders that hold class folders.

    Raises:
        DataError: the folder cannot be listed, it has a test folder but no train folder, what it holds can be
            read as classes and as splits, or no folder of it is called as a class could be.
    """
    scope = ScanScope(spec.path.resolve(), spec.follow_links, spec.modality)
    skipped: list[Skipped] = []
    tops = [scope.root] if spec.label_from is not None else _class_folders(scope, skipped)
    files: dict[PurePosixPath, Path] = {}
    for item in (item for top in tops for item in scan(top, scope)):
        if isinstance(item, Skipped):
            skipped.append(item)
        else:
            files[PurePosixPath(item.relative_to(scope.root).as_posix())] = item
    if spec.label_from is not None:
        samples = label_by_pattern(files, spec.label_from, skipped)
    else:
        bare = [top for top in tops if top.name not in {path.parts[0] for path in files}]
        told = {item.path for item in skipped}
        skipped += [Skipped(scope.name(top), "a class folder without images") for top in bare if top.name not in told]
        empty = [top.name for top in bare if _has_folders(top, scope)]
        inner = f"name the inner folder instead: {scope.root}/"
        samples = label_by_folders(files, scope.root, skipped, lambda top: inner + top, empty)
    return SourceListing(
        in_order(samples),
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


def _has_folders(top: Path, scope: ScanScope) -> bool:
    return any(skipped_folder_reason(entry, scope) is None for entry in list_dir(top)[0])


def _outside_folder(samples: list[Sample], root: Path) -> Path | None:
    """The first folder of images that a link leads to outside of ``root``, or None."""
    folders = sorted({sample.file.parent for sample in samples if isinstance(sample.file, Path)})
    return next((folder for folder in folders if not folder.resolve().is_relative_to(root)), None)
