"""``torchvision:<Dataset>``: a classification data set of torchvision, read through its public ``Dataset`` interface.

Data sets lie in one folder for all projects of a user, ``~/.cache/torch/datasets/vision`` as torchvision calls it, or
what ``GRAFT_DATASETS`` names. Image files are used as they are; images that torchvision decodes from arrays or formats
that graft does not open are written as PNG files once.

To add a data set, add it to ``SPLITS``. Its class must check the published checksums of every file that it unpickles,
as CIFAR's do: files of unknown origin are never unpickled.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graft.core.errors import DataError, did_you_mean
from graft.core.files import atomic_dir
from graft.core.network import downloads_allowed, socket_timeout
from graft.core.progress import track
from graft.data.sources.listing import Sample, SourceListing, effective_splits, in_order, printable
from graft.data.sources.tables.reader import read_table
from graft.modalities.image.signatures import SUFFIXES

PREFIX = "torchvision:"
# Where arrays were written as PNG; the number goes up when they would be written otherwise.
_PICTURES = "png-1"
_TABLE = "table.csv"

# For each split (train, val, test, or "" for a data set without splits) the constructor's arguments.
Splits = Mapping[str, Mapping[str, Any]]
_BY_FLAG: Splits = {"train": {"train": True}, "test": {"train": False}}
_TRAIN_TEST: Splits = {"train": {"split": "train"}, "test": {"split": "test"}}
_TRAINVAL_TEST: Splits = {"train": {"split": "trainval"}, "test": {"split": "test"}}
_TRAIN_VAL: Splits = {"train": {"split": "train"}, "val": {"split": "val"}}
_THREE: Splits = {**_TRAIN_VAL, "test": {"split": "test"}}
_VALID: Splits = {**_TRAIN_TEST, "val": {"split": "valid"}}
_UNDIVIDED: Splits = {"": {}}
# Of its six divisions the one with equally many images of each class.
_BALANCED: Splits = {split: {"split": "balanced", **arguments} for split, arguments in _BY_FLAG.items()}

SPLITS: Mapping[str, Splits] = {
    **dict.fromkeys(("MNIST", "FashionMNIST", "KMNIST", "QMNIST", "USPS", "CIFAR10", "CIFAR100"), _BY_FLAG),
    **dict.fromkeys(("SVHN", "STL10", "FER2013", "GTSRB", "Food101", "StanfordCars"), _TRAIN_TEST),
    **dict.fromkeys(("OxfordIIITPet", "FGVCAircraft"), _TRAINVAL_TEST),
    **dict.fromkeys(("Flowers102", "DTD", "RenderedSST2"), _THREE),
    **dict.fromkeys(("SEMEION", "EuroSAT", "Caltech101", "Caltech256", "SUN397"), _UNDIVIDED),
    "EMNIST": _BALANCED,
    "Imagenette": _TRAIN_VAL,
    "Country211": _VALID,
}
# Names of classes that torchvision does not give, or gives as "0 - zero".
_CLASSES: Mapping[str, tuple[str, ...]] = {
    "MNIST": tuple("0123456789"),
    "QMNIST": tuple("0123456789"),
    "GTSRB": tuple(f"{number:05d}" for number in range(43)),
    "FER2013": ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
}


def datasets_dir() -> Path:
    """The folder of downloaded data sets."""
    if given := os.environ.get("GRAFT_DATASETS"):
        return Path(given).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    torch_home = os.environ.get("TORCH_HOME", f"{cache}/torch")
    return Path(torch_home).expanduser().absolute() / "datasets" / "vision"


def read_dataset(source: str) -> SourceListing:
    """List the images of ``torchvision:<Dataset>``, downloading it first where it is not on this machine.

    Raises:
        DataError: no such data set, or it is not here and cannot be had.
    """
    name = source.removeprefix(PREFIX)
    if name not in SPLITS:
        raise DataError(
            f"there is no data set {name!r} among those that graft takes from torchvision",
            where="data.source",
            remedy=did_you_mean(_as_spelled(name), SPLITS),
        )
    pictures = datasets_dir() / _PICTURES / name
    if not (pictures / _TABLE).is_file():
        splits = _load(name)
        with _named_errors(name, "read"):
            files = all(_file(dataset[0][0]) for dataset in splits.values())
        if files:
            return _from_files(name, splits)
        _write_pictures(name, splits, pictures)
    found = read_table(pictures / _TABLE)
    # What is published does not change, so there is nothing of the user's to watch.
    return dataclasses.replace(found, watched=None, table=None, problems=(), rows=())


def _as_spelled(name: str) -> str:
    """A known name that starts like ``name`` in any case: edit distance would rank it low."""
    return next((known for known in SPLITS if known.lower().startswith(name.lower())), name)


def _load(name: str) -> dict[str, Any]:
    """torchvision's ``Dataset`` of every split."""
    own = datasets_dir() / name
    why = ""
    for root in filter(Path.is_dir, (own, datasets_dir())):
        try:
            return _construct(name, root, download=False)
        except DataError as error:
            why = why or f"; what is there cannot be used: {error.what}"
    if not downloads_allowed():
        raise DataError(
            f"the data set {name} is not on this machine, and downloads are switched off (GRAFT_OFFLINE){why}",
            where=f"looked in {own} and {datasets_dir()}",
            remedy=_by_hand(name),
        )
    # Whole or not at all: torchvision takes a data set whose unpacking was killed half-way for a whole one.
    with atomic_dir(own) as folder:
        if own.is_dir():  # it may hold archives
            shutil.copytree(own, folder, copy_function=_link, dirs_exist_ok=True)
        _construct(name, folder, download=True)
    return _construct(name, own, download=False)


def _construct(name: str, root: Path, download: bool) -> dict[str, Any]:
    from graft.core.compat.torchvision import datasets

    dataset_class = getattr(datasets, name)
    taken = inspect.signature(dataset_class).parameters
    options: dict[str, Any] = {"download": download} if "download" in taken or "kwargs" in taken else {}
    if "loader" in taken:  # it is given a file's path, and what it returns is the sample
        options["loader"] = Path
    with _named_errors(name, "download" if download else "read"), socket_timeout():
        return {split: dataset_class(str(root), **options, **arguments) for split, arguments in SPLITS[name].items()}


@contextmanager
def _named_errors(name: str, doing: str) -> Iterator[None]:
    """Turn any error of a download, an archive or a parser into a DataError."""
    try:
        yield
    except Exception as error:
        raise DataError(
            f"torchvision cannot {doing} the data set {name}: {error}",
            where=datasets_dir() / name,
            remedy=f"remove {datasets_dir() / name} if it is damaged, and run again; or {_by_hand(name)}",
        ) from None


def _by_hand(name: str) -> str:
    arguments = "".join(f", {key}={value!r}" for key, value in next(iter(SPLITS[name].values())).items())
    code = f"from torchvision.datasets import {name}; {name}('{name}'{arguments}, download=True)"
    return (
        f'on a machine with a network run python -c "{code}" and copy the folder {name} into {datasets_dir()}; '
        "or let GRAFT_DATASETS name the folder that holds it"
    )


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _file(image: Any) -> Path | None:
    """The sample's own image file, if it has one of a format that graft opens."""
    if isinstance(image, Path):
        return image
    # An image that was opened and not yet decoded knows its file.
    file = Path(getattr(image, "filename", ""))
    if file.suffix.lower() not in SUFFIXES:
        return None
    image.close()
    return file


def _samples(name: str, dataset: Any) -> Iterator[tuple[Any, str]]:
    """Each image with the name of its class."""
    classes = _CLASSES.get(name) or getattr(dataset, "classes", None) or getattr(dataset, "categories", None)
    with _named_errors(name, "read"):
        for index in range(len(dataset)):
            image, number = dataset[index]
            label = classes[int(number)] if classes else str(int(number))
            yield image, label if isinstance(label, str) else label[0]  # of synonyms the first


def _from_files(name: str, splits: Mapping[str, Any]) -> SourceListing:
    """List data sets of image files in place."""
    samples = []
    sides = effective_splits({part: part for part in splits})
    for part, dataset in splits.items():
        for image, label in _samples(name, dataset):
            file = _file(image)
            assert file is not None
            samples.append(Sample(file, printable(os.path.relpath(file, datasets_dir())), label, sides[part]))
    return SourceListing(in_order(samples))


def _write_pictures(name: str, splits: Mapping[str, Any], folder: Path) -> None:
    """Write images as PNG files, with a table of their labels and splits."""
    import pandas as pd

    rows: list[tuple[str, str, str]] = []
    with atomic_dir(folder) as beside:
        for part, dataset in splits.items():
            (beside / (part or "all")).mkdir()
            samples = track(_samples(name, dataset), f"writing {name} {part}", total=len(dataset))
            for index, (image, label) in enumerate(samples):
                path = f"{part or 'all'}/{index:06d}.png"
                image.save(beside / path, format="PNG")
                rows.append((path, label, part))
        pd.DataFrame(rows, columns=["path", "label", "split"]).to_csv(beside / _TABLE, index=False)
