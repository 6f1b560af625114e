"""A folder of class folders, or one with train, val and test folders that hold class folders."""

from __future__ import annotations

from pathlib import Path

from graft.errors import DataError
from graft.images.records import SPLIT_NAMES, Found, Record, Skipped, debris, honoured_split, listed, printable, walk


def read_folder(folder: Path) -> Found:
    """List the images of a folder; whether it is divided into splits is seen from its subfolders.

    It is divided when a subfolder called train, val (valid, validation, dev) or test holds folders but no image of
    its own: a class called "train" holds images.

    Raises:
        DataError: the folder cannot be listed, or it has a test folder but no train folder.
    """
    folder = folder.resolve()
    entries, trouble = listed(folder)
    if trouble:
        raise DataError(f"the folder {trouble}", where=folder, remedy="check that it may be read")
    children: list[Path] = []
    skipped: list[Skipped] = []
    for entry in entries:
        why = debris(entry.name)
        if why is None and not entry.is_dir(follow_symlinks=False):
            why = "a link to a folder, which is not followed" if entry.is_dir() else "not in a class folder"
        if why is None:
            children.append(Path(entry.path))
        else:
            skipped.append(Skipped(printable(entry.name), why))
    parts = {child: SPLIT_NAMES[child.name.lower()] for child in children if _is_split(child)}
    if parts:
        records = _read_splits(folder, parts, skipped)
        skipped += [Skipped(child.name, "not a split folder") for child in children if child not in parts]
    else:
        records = [record for child in children for record in _read_class(child, folder, None, skipped)]
    return Found(
        tuple(sorted(records, key=lambda record: record.source)),
        tuple(sorted(skipped, key=lambda item: item.path)),
        watched=folder,
    )


def _is_split(child: Path) -> bool:
    """Does this folder hold class folders under a split's name?"""
    if child.name.lower() not in SPLIT_NAMES:
        return False
    entries, _ = listed(child)
    kept = [entry for entry in entries if debris(entry.name) is None]
    return any(entry.is_dir(follow_symlinks=False) for entry in kept) and not any(entry.is_file() for entry in kept)


def _read_splits(folder: Path, parts: dict[Path, str], skipped: list[Skipped]) -> list[Record]:
    if "train" not in parts.values():
        raise DataError(
            f"there is a folder {next(iter(parts)).name!r} with class folders in it, but no folder 'train'",
            where=folder,
            remedy="add a folder 'train', or name one folder of class folders as data.source",
        )
    has_test = "test" in parts.values()
    records: list[Record] = []
    for part, given in parts.items():
        split = honoured_split(given, has_test)
        for entry in listed(part)[0]:
            child = Path(entry.path)
            why = debris(entry.name)
            if why is None and entry.is_dir(follow_symlinks=False):
                records += _read_class(child, folder, split, skipped)
            else:
                skipped.append(Skipped(printable(child.relative_to(folder).as_posix()), why or "not in a class folder"))
    if set(parts.values()) == {"train"}:
        # Nothing to honour: one folder called train is just a folder of class folders.
        return [Record(record.file, record.source, record.label) for record in records]
    return records


def _read_class(child: Path, folder: Path, split: str | None, skipped: list[Skipped]) -> list[Record]:
    records = []
    for item in walk(child, folder):
        if isinstance(item, Skipped):
            skipped.append(item)
        else:
            records.append(Record(item, printable(item.relative_to(folder).as_posix()), child.name, split))
    name = printable(child.relative_to(folder).as_posix())
    if not records and name not in {item.path for item in skipped}:
        skipped.append(Skipped(name, "a class folder without images"))
    return records
