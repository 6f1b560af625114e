"""The image sets that benchmarks train and test on, drawn with a seed from ../shared/data.

Each becomes a folder of ``train`` and ``test`` (hymenoptera, as its makers divided it: ``train`` and ``val``), with a
folder of images per class. Nothing but the set's name, the class and the seed decides what is drawn.
"""

from __future__ import annotations

import shutil
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graft.core.determinism import derive_seed

SHARED = Path(__file__).resolve().parents[2] / "shared/data"
# Tested of a class; and the parts that the photographs of ants and bees are divided into to test each of them once.
MOST_TESTED, FOLDS = 100, 5

# Of each folder of images in an archive the names; and of each image drawn where it goes, below the target.
Names = Mapping[tuple[str, ...], Sequence[str]]
Places = dict[str, tuple[str, str]]
Draw = Callable[["DrawnSet", Names, int], Places]


@dataclass(frozen=True)
class DrawnSet:
    """A data set to draw from.

    Attributes:
        name: as benchmarks and their results call it.
        source: an archive or a folder in ../shared/data.
        make: makes ``train`` and ``test`` of it.
        inside: the archive's folder that holds the class folders, or ``train`` and ``test`` with these.
        per_class: images of a class to train on; 0: all.
        size: side of the network's input in pixels; None: what graft chooses.
    """

    name: str
    source: str
    make: Callable[[DrawnSet, int, Path], Path]
    inside: str = ""
    per_class: int = 0
    size: int | None = 128

    @property
    def is_present(self) -> bool:
        """Whether its source lies in ../shared/data."""
        return (SHARED / self.source).exists()

    def draw(self, seed: int, target: Path) -> Path:
        """The folder of its images, which is ``target`` unless they can be read where they are."""
        return self.make(self, seed, target)


def tested_part(folder: Path) -> Path:
    """The part of a drawn set that is tested."""
    return next(part for part in (folder / "test", folder / "val") if part.is_dir())


def _order(part: DrawnSet, seed: int, label: str, count: int) -> list[int]:
    order: list[int] = np.random.default_rng(derive_seed(seed, "draw", part.name, label)).permutation(count).tolist()
    return order


def _draw_undivided(part: DrawnSet, names: Names, seed: int) -> Places:
    """Of each class the first to train on, those after them to test."""
    places: Places = {}
    for (label,), of_class in names.items():
        for place, index in enumerate(_order(part, seed, label, len(of_class))[: part.per_class + MOST_TESTED]):
            places[of_class[index]] = ("train" if place < part.per_class else "test", label)
    return places


def _draw_divided(part: DrawnSet, names: Names, seed: int) -> Places:
    """Of the archive's own ``train`` and ``test`` so many of each class."""
    counts = {"train": part.per_class, "test": MOST_TESTED}
    places: Places = {}
    for (side, label), of_class in names.items():
        for index in _order(part, seed, label, len(of_class))[: counts[side]]:
            places[of_class[index]] = (side, label)
    return places


def _unpack(draw: Draw) -> Callable[[DrawnSet, int, Path], Path]:
    """Draw from an archive. It is read twice from end to end, for a compressed one cannot be read out of order."""

    def unpacked(part: DrawnSet, seed: int, target: Path) -> Path:
        places = draw(part, _names(part), seed)
        with tarfile.open(SHARED / part.source) as tar:
            for member in tar:
                if member.name in places:
                    content = tar.extractfile(member)
                    assert content is not None
                    _put(content.read(), target.joinpath(*places[member.name], Path(member.name).name))
        return target

    return unpacked


def _names(part: DrawnSet) -> Names:
    prefix = f"{part.inside}/" if part.inside else ""
    names: dict[tuple[str, ...], list[str]] = defaultdict(list)
    with tarfile.open(SHARED / part.source) as tar:
        for name in sorted(member.name for member in tar if member.isfile() and member.name.startswith(prefix)):
            names[Path(name.removeprefix(prefix)).parts[:-1]].append(name)
    return {folder: of_folder for folder, of_folder in names.items() if folder}


def _put(content: bytes, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def _as_divided(part: DrawnSet, seed: int, target: Path) -> Path:
    return SHARED / part.source


def _fold(part: DrawnSet, seed: int, target: Path) -> Path:
    """All images, those of fold ``seed`` to test: five seeds test each image once."""
    if seed not in range(FOLDS):
        raise SystemExit(f"{part.name} has the seeds 0 to {FOLDS - 1}, which are its folds, and no {seed}")
    by_class: dict[str, list[Path]] = defaultdict(list)
    for file in sorted((SHARED / part.source).glob("*/*/*")):
        by_class[file.parent.name].append(file)
    for label, files in by_class.items():
        for place, index in enumerate(_order(part, 0, label, len(files))):
            folder = target / ("test" if place % FOLDS == seed else "train") / label
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(files[index], folder / f"{files[index].parts[-3]}-{files[index].name}")
    return target


SETS: dict[str, DrawnSet] = {
    part.name: part
    for part in (
        DrawnSet("hymenoptera", "hymenoptera", _as_divided, size=None),
        DrawnSet("neu_steel", "neu-steel.tar", _unpack(_draw_undivided), "neu-steel", 20),
        DrawnSet("cifar10", "cifar10.tar.xz", _unpack(_draw_divided), "", 50),
        DrawnSet("caltech20", "caltech20.tar", _unpack(_draw_undivided), "caltech20", 10),
        DrawnSet("photo", "pacs-photo-cartoon.tar", _unpack(_draw_undivided), "pacs/photo", 10),
        DrawnSet("cartoon", "pacs-photo-cartoon.tar", _unpack(_draw_undivided), "pacs/cartoon", 10),
        DrawnSet("hymenoptera_folds", "hymenoptera", _fold, size=None),
    )
}
# That the presets are measured on.
FIVE = ("hymenoptera", "neu_steel", "cifar10", "caltech20", "photo")


def present_sets(names: Iterable[str]) -> tuple[list[DrawnSet], list[str]]:
    """The sets of these names that are here, and the names of the others."""
    wanted = [SETS[name] for name in names]
    return [part for part in wanted if part.is_present], [part.name for part in wanted if not part.is_present]
