"""Labels and splits from folder names, for folders on disk and inside tar files alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from graft.core.errors import DataError
from graft.core.packed_files import StoredFile
from graft.data.sources.listing import SPLIT_NAMES, Sample, Skipped, effective_split, printable


@dataclass(frozen=True, slots=True)
class FolderContent:
    """Whether a folder directly holds folders, images, both or neither."""

    folders: bool
    images: bool


@dataclass(frozen=True, slots=True)
class SplitFolders:
    """The split folders of a source.

    Attributes:
        parts: each split folder's name, and whether it is ``train``, ``val`` or ``test``; empty: it is not divided.
    """

    parts: Mapping[str, str]

    def split_of(self, folder: str) -> str | None:
        """The split of a split folder's images, or None where only a train folder is there.

        One folder called train, and no other, is just a folder of class folders.
        """
        if set(self.parts.values()) == {"train"}:
            return None
        return effective_split(self.parts[folder], "test" in self.parts.values())


def label_by_folders(
    files: Mapping[PurePosixPath, StoredFile],
    root: Path,
    skipped: list[Skipped],
    unwrap: Callable[[str], str],
    empty: Iterable[str] = (),
) -> list[Sample]:
    """Label images by the first folder of their paths, or below train, val and test folders by the second.

    Args:
        files: images by their path below the source, with a folder at least.
        root: the source, for messages.
        skipped: gets what is no part of a divided source.
        unwrap: for the name of a folder that holds everything, what the user can do.
        empty: top-level folders that hold folders but no image; an empty test folder divides a source all the same.

    Raises:
        DataError: the folders contradict each other, or one of them holds all class folders.
    """
    contents = {**_contents(files), **{name: FolderContent(folders=True, images=False) for name in empty}}
    split_folders = find_split_folders(contents, root)
    parts = split_folders.parts
    _refuse_wrapping_folder(files, contents, split_folders, root, unwrap)
    samples = []
    for path, file in files.items():
        name = printable(str(path))
        top, inner = path.parts[:2]
        if not parts:
            samples.append(Sample(file, name, top))
        elif top in parts and len(path.parts) > 2:
            samples.append(Sample(file, name, inner, split_folders.split_of(top)))
    if parts:
        skipped += [Skipped(printable(top), "not a split folder") for top in contents if top not in parts]
    return samples


def _contents(files: Iterable[PurePosixPath]) -> dict[str, FolderContent]:
    """Content of each top-level folder, by name."""
    depths: dict[str, set[bool]] = {}
    for path in files:
        depths.setdefault(path.parts[0], set()).add(len(path.parts) > 2)
    return {
        top: FolderContent(folders=True in deeper, images=False in deeper) for top, deeper in sorted(depths.items())
    }


def _refuse_wrapping_folder(
    files: Iterable[PurePosixPath],
    contents: Mapping[str, FolderContent],
    split_folders: SplitFolders,
    root: Path,
    unwrap: Callable[[str], str],
) -> None:
    """Refuse a single folder that wraps all class folders, as unpacking an archive leaves it."""
    if split_folders.parts or list(contents.values()) != [FolderContent(True, False)]:
        return
    (top,) = contents
    if len({path.parts[1] for path in files}) > 1:
        raise DataError(
            f"the only folder here is {top!r}, and it holds folders, not images", where=root, remedy=unwrap(top)
        )


def nested_classes(samples: Iterable[Sample]) -> dict[str, list[str]]:
    """Classes whose images lie in several sub-folders, with these sub-folders."""
    inner: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        folders = sample.source.split("/")[:-1]
        if sample.label in folders:
            inner[sample.label].add("/".join(folders[folders.index(sample.label) + 1 :]))
    return {label: sorted(names - {""}) for label, names in sorted(inner.items()) if len(names - {""}) > 1}


def find_split_folders(contents: Mapping[str, FolderContent], root: Path) -> SplitFolders:
    """Find the split folders of a source by their names.

    Such a folder is a split where it holds folders but no image of its own: a class called "train" holds images.

    Args:
        contents: what lies in each folder of the source, by its name.
        root: the source, for messages.

    Raises:
        DataError: a folder could be both a split and a class, or there is a split folder but none to train on.
    """
    named = {name: inside for name, inside in contents.items() if name.lower() in SPLIT_NAMES}
    parts = {name: SPLIT_NAMES[name.lower()] for name, inside in named.items() if inside == FolderContent(True, False)}
    mixed = [name for name, inside in named.items() if inside == FolderContent(True, True)]
    if mixed and sum(inside.folders for inside in named.values()) > 1:
        raise DataError(
            f"the folder {mixed[0]!r} holds both folders and loose images, so that it could be a split or a class",
            where=root,
            remedy="move its loose images into class folders, or out of it",
        )
    if parts and "train" not in parts.values():
        raise DataError(
            f"there is a folder {next(iter(parts))!r} with class folders in it, but no folder 'train'",
            where=root,
            remedy="add a folder 'train', or let data.source have class folders alone",
        )
    return SplitFolders(parts)
