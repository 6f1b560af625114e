"""Labels and splits from paths, for folders on disk and inside tar files alike: by class folders, or by a pattern."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath

from graft.core.errors import DataError
from graft.core.packed_files import StoredFile
from graft.data.sources.listing import SPLIT_NAMES, Sample, Skipped, effective_splits, printable

# A name, then a number: ``cat.0.jpg``, ``great_pyrenees_12.jpg``, ``cat-0001.png``, ``cat (3).jpg``.
USUAL = r"([^/]+?)[ ._(-]+\d+\)?\.\w+$"
# The folder that a file lies in.
INNERMOST_FOLDER = "([^/]+)/[^/]+$"
NO_MATCH = "data.label_from does not match its path"

Files = Mapping[PurePosixPath, StoredFile]


def label_by_pattern(files: Files, pattern: str, skipped: list[Skipped]) -> list[Sample]:
    """Label files by a pattern in their paths below the source; top-level folders named train, val or test are splits.

    The pattern is a regular expression whose one group is the label; what does not match it is added to ``skipped``.
    """
    labels = {path: label_of(printable(str(path)), pattern) for path in files}
    skipped += [Skipped(printable(str(path)), NO_MATCH) for path, label in labels.items() if not label]
    tops = {path.parts[0] for path, label in labels.items() if label}
    parts = {top: SPLIT_NAMES[top.lower()] for top in tops if top.lower() in SPLIT_NAMES}
    splits = effective_splits(parts) if "train" in parts.values() and tops == parts.keys() else {}
    return [
        Sample(files[path], printable(str(path)), label, splits.get(path.parts[0]))
        for path, label in labels.items()
        if label
    ]


def label_of(path: str, pattern: str) -> str | None:
    """The label in a path, or None where the pattern does not match."""
    found = re.search(pattern, path)
    return (found[1] or None) if found else None


def suggest_pattern(paths: Iterable[str]) -> str | None:
    """Suggest a pattern that finds several labels in the paths, or return None."""
    labels = Counter(filter(None, (label_of(PurePosixPath(path).name, USUAL) for path in paths)))
    usual = [label for label, count in labels.most_common() if count > 1]
    shown = ", ".join(map(repr, usual[:3])) + (", ..." if len(usual) > 3 else "")
    return f"set data.label_from to '{USUAL}', which finds {shown} in the files' names" if len(usual) > 1 else None


def label_by_folders(
    files: Files, root: Path, skipped: list[Skipped], unwrap: Callable[[str], str], empty: Iterable[str] = ()
) -> list[Sample]:
    """Label files by the first folder of their paths, or below train, val and test folders by the second.

    A folder of such a name is a split where it holds folders but no file: a class called "train" holds files.

    Args:
        files: by their path below the source, with a folder at least.
        root: the source, for messages.
        skipped: gets what is no part of a divided source.
        unwrap: for the name of a folder that holds everything, what the user can do.
        empty: top-level folders that hold folders but no file; an empty test folder divides a source all the same.

    Raises:
        DataError: the folders contradict each other, one of them holds all class folders, or no class is named.
    """
    flat = {path.parts[0] for path in files if len(path.parts) == 2}
    deep = {path.parts[0] for path in files if len(path.parts) > 2}.union(empty)
    parts = _split_folders(flat, deep, root)
    if not parts and len(deep) == 1 and not flat and len({path.parts[1] for path in files}) > 1:
        # As unpacking an archive leaves it.
        (top,) = deep
        what = f"the only folder here is {top!r}, and it holds folders, not images"
        raise DataError(what, where=root, remedy=unwrap(top))
    splits = effective_splits(parts)
    if parts:
        skipped += [Skipped(printable(top), "not a split folder") for top in (flat | deep) - parts.keys()]
    samples = [
        Sample(file, printable(str(path)), path.parts[1 if parts else 0], splits.get(path.parts[0]))
        for path, file in files.items()
        if not parts or path.parts[0] in parts
    ]
    _refuse_unnamed_classes(samples, root)
    return samples


def _split_folders(flat: set[str], deep: set[str], root: Path) -> dict[str, str]:
    """Which of the folders that hold files (``flat``) or folders (``deep``) are ``train``, ``val`` or ``test``."""
    named = sorted(name for name in flat | deep if name.lower() in SPLIT_NAMES)
    mixed = [name for name in named if name in flat & deep]
    if mixed and len(deep.intersection(named)) > 1:
        raise DataError(
            f"the folder {mixed[0]!r} holds both folders and loose images, so that it could be a split or a class",
            where=root,
            remedy="move its loose images into class folders, or out of it",
        )
    parts = {name: SPLIT_NAMES[name.lower()] for name in named if name not in flat}
    if parts and "train" not in parts.values():
        raise DataError(
            f"there is a folder {next(iter(parts))!r} with class folders in it, but no folder 'train'",
            where=root,
            remedy="add a folder 'train', or let data.source have class folders alone",
        )
    return parts


def _refuse_unnamed_classes(samples: Iterable[Sample], root: Path) -> None:
    """Refuse class folders that name no classes, all called as splits are or a single one; with a pattern that fits."""
    names = sorted({sample.label for sample in samples})
    advice = suggest_pattern(sample.source for sample in samples)
    if names and all(name.lower() in SPLIT_NAMES for name in names):
        what = f"every class folder is called as a split is ({', '.join(map(repr, names))}), so no class is named"
        how = "set data.label_from to a regular expression whose group is the label in a file's path"
        raise DataError(what, where=root, remedy=f"{advice or how}; or put a folder for each class into each of these")
    if len(names) == 1 and advice:
        raise DataError(
            f"there is only one class folder, {names[0]!r}, and its files are named by classes",
            where=root,
            remedy=f"{advice}; or put the images of each class into a folder of its own",
        )


def nested_classes(samples: Iterable[Sample]) -> dict[str, list[str]]:
    """Classes whose images lie in several sub-folders, with these sub-folders."""
    inner: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        folders = sample.source.split("/")[:-1]
        if sample.label in folders:
            inner[sample.label].add("/".join(folders[folders.index(sample.label) + 1 :]))
    return {label: sorted(names - {""}) for label, names in sorted(inner.items()) if len(names - {""}) > 1}
