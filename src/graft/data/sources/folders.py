"""A folder of class folders, or one with train, val and test folders that hold class folders."""

from __future__ import annotations

from pathlib import Path

from graft.core.errors import DataError
from graft.data.sources.label_pattern import label_by, refuse_folders_of_no_class
from graft.data.sources.records import SPLIT_NAMES, Found, Record, Skipped, debris
from graft.data.sources.scan import Scope, is_folder, is_image, listed, unfit_folder, walk
from graft.data.sources.split_folders import Content, Division, division_of


def read_folder(folder: Path, follow_links: bool = False, label_from: str | None = None) -> Found:
    """List the images of a folder; whether it is divided into splits is seen from its subfolders.

    See :func:`graft.data.sources.split_folders.division_of`.

    Args:
        folder: the source.
        follow_links: read links out of the folder too; the others are passed over either way.
        label_from: the value of ``data.label_from``; without, the class folders are the labels.

    Raises:
        DataError: the folder cannot be listed, it has a test folder but no train folder, what it holds can be
            read as classes and as splits, or no folder of it is called as a class could be.
    """
    scope = Scope(folder.resolve(), follow_links)
    entries, trouble = listed(scope.root)
    if trouble:
        raise DataError(f"the folder {trouble}", where=scope.root, remedy="check that it may be read")
    if label_from is not None:
        return _read_by_pattern(scope, label_from)
    children: list[Path] = []
    skipped: list[Skipped] = []
    for entry in entries:
        why = unfit_folder(entry, scope)
        if why is None:
            children.append(Path(entry.path))
        else:
            skipped.append(Skipped(scope.name(Path(entry.path)), why))
    named = [child for child in children if child.name.lower() in SPLIT_NAMES]
    division = division_of({child.name: _content(child, scope) for child in named}, scope.root)
    if division.parts:
        records = _read_splits(scope, division, skipped)
        skipped += [Skipped(child.name, "not a split folder") for child in children if child.name not in division.parts]
    else:
        _refuse_a_wrapping(children, scope)
        records = [record for child in children for record in _read_class(child, scope, None, skipped)]
        refuse_folders_of_no_class(records, scope.root)
    return _found(records, skipped, scope)


def _found(records: list[Record], skipped: list[Skipped], scope: Scope) -> Found:
    return Found(
        tuple(sorted(records, key=lambda record: record.source)),
        tuple(sorted(skipped, key=lambda item: item.path)),
        watched=scope.root,
        linked=_beyond(records, scope.root),
    )


def _read_by_pattern(scope: Scope, pattern: str) -> Found:
    items = list(walk(scope.root, scope))
    skipped = [item for item in items if isinstance(item, Skipped)]
    files = [(scope.name(item), item) for item in items if isinstance(item, Path)]
    return _found(label_by(pattern, files, skipped), skipped, scope)


def _content(child: Path, scope: Scope) -> Content:
    kept = [entry for entry in listed(child)[0] if debris(entry.name) is None]
    return Content(any(unfit_folder(entry, scope) is None for entry in kept), any(is_image(entry) for entry in kept))


def _refuse_a_wrapping(children: list[Path], scope: Scope) -> None:
    """One folder that holds only folders is what unpacking an archive leaves; as a class it would hold everything."""
    if len(children) != 1 or _content(children[0], scope) != Content(True, False):
        return
    inner = [entry.name for entry in listed(children[0])[0] if is_folder(entry) and debris(entry.name) is None]
    if len(inner) > 1:
        raise DataError(
            f"the only folder here is {children[0].name!r}, and it holds folders, not images",
            where=scope.root,
            remedy=f"name the inner folder instead: {children[0]}",
        )


def _read_splits(scope: Scope, division: Division, skipped: list[Skipped]) -> list[Record]:
    records: list[Record] = []
    for part in division.parts:
        for entry in listed(scope.root / part)[0]:
            child = Path(entry.path)
            why = unfit_folder(entry, scope)
            if why is None:
                records += _read_class(child, scope, division.split_of(part), skipped)
            else:
                skipped.append(Skipped(scope.name(child), why))
    return records


def _read_class(child: Path, scope: Scope, split: str | None, skipped: list[Skipped]) -> list[Record]:
    records = []
    for item in walk(child, scope):
        if isinstance(item, Skipped):
            skipped.append(item)
        else:
            records.append(Record(item, scope.name(item), child.name, split))
    name = scope.name(child)
    if not records and name not in {item.path for item in skipped}:
        skipped.append(Skipped(name, "a class folder without images"))
    return records


def _beyond(records: list[Record], root: Path) -> Path | None:
    """The first folder of images that lies out of ``root`` in truth."""
    folders = sorted({record.file.parent for record in records if isinstance(record.file, Path)})
    return next((folder for folder in folders if not folder.resolve().is_relative_to(root)), None)
