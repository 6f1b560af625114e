"""Labels from file paths by a regular expression (``data.label_from``), and the pattern to suggest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from graft.core.errors import DataError
from graft.core.packed_files import StoredFile
from graft.data.sources.listing import SPLIT_NAMES, Sample, Skipped
from graft.data.sources.split_folders import SplitFolders

# A name, then a number: ``cat.0.jpg``, ``great_pyrenees_12.jpg``, ``cat-0001.png``, ``cat (3).jpg``.
USUAL = r"([^/]+?)[ ._(-]+\d+\)?\.\w+$"
# The folder that a file lies in.
INNERMOST_FOLDER = "([^/]+)/[^/]+$"
NO_MATCH = "data.label_from does not match its path"


def label_by_pattern(pattern: str, files: Iterable[tuple[str, StoredFile]], skipped: list[Skipped]) -> list[Sample]:
    """Label files by a pattern in their paths; top-level folders named train, val or test are splits.

    Args:
        pattern: a regular expression whose one group is the label.
        files: each with its path relative to the source, with ``/``.
        skipped: what does not match is added to it.
    """
    labelled = []
    for path, file in files:
        if label := label_of(path, pattern):
            labelled.append((path, file, label))
        else:
            skipped.append(Skipped(path, NO_MATCH))
    tops = {PurePosixPath(path).parts[0] for path, *_ in labelled}
    parts = {top: SPLIT_NAMES[top.lower()] for top in tops if top.lower() in SPLIT_NAMES}
    division = SplitFolders(parts if "train" in parts.values() and tops == parts.keys() else {})
    return [
        Sample(file, path, label, division.split_of(PurePosixPath(path).parts[0]) if division.parts else None)
        for path, file, label in labelled
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


def check_class_folders(samples: Iterable[Sample], root: Path) -> None:
    """Refuse class folders that name no classes: all named as splits, or a single one.

    Raises:
        DataError: the message proposes a pattern where one fits.
    """
    samples = list(samples)
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
