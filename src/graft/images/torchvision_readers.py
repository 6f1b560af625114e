"""How torchvision's objects are made, where they keep their images, and what their classes are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from graft.images.plain_pickle import read_plain

# (image file, class number) for each image.
Samples = Callable[[Any], Iterable[tuple[Any, int]]]
# A data set's class and the number of a class -> the class's name.
Named = Callable[[Any, int], str]
# torchvision's class, the root, whether to download, and the arguments of a part -> torchvision's object.
Construct = Callable[[Any, Path, bool, Mapping[str, Any]], Any]


def construct_any(kind: Any, root: Path, download: bool, arguments: Mapping[str, Any]) -> Any:
    """How most of torchvision's classes are made."""
    return kind(root=str(root), download=download, **arguments)


def digit(data: Any, number: int) -> str:
    return str(number)


def sign(data: Any, number: int) -> str:
    return f"{number:05d}"


def by_classes(data: Any, number: int) -> str:
    return str(data.classes[number])


def by_first_synonym(data: Any, number: int) -> str:
    return str(data.classes[number][0])


def by_categories(data: Any, number: int) -> str:
    return str(data.categories[number])


def by_feeling(data: Any, number: int) -> str:
    return ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")[number]


def images_and_labels(data: Any) -> Iterable[tuple[Any, int]]:
    return zip(data._image_files, data._labels, strict=True)


def pets(data: Any) -> Iterable[tuple[Any, int]]:
    return zip(data._images, data._labels, strict=True)


def private_samples(data: Any) -> Iterable[tuple[Any, int]]:
    return ((path, int(number)) for path, number in data._samples)


def public_samples(data: Any) -> Iterable[tuple[Any, int]]:
    return ((path, int(number)) for path, number in data.samples)


def caltech(folder: str, pattern: str) -> Samples:
    def samples(data: Any) -> Iterable[tuple[Any, int]]:
        for number, index in zip(data.y, data.index, strict=True):
            name = pattern.format(number=number + 1, index=index)
            yield Path(data.root, folder, data.categories[number], name), number

    return samples


class Cifar:
    """CIFAR's images by torchvision's download and checksums, but read without unpickling."""

    def __init__(self, kind: Any, root: Path, download: bool, train: bool) -> None:
        # Its constructor unpickles; the methods that fetch and check the files need only the root.
        checks = object.__new__(kind)
        checks.root = str(root)
        if download:
            checks.download()
        if not checks._check_integrity():
            raise RuntimeError("Dataset not found or corrupted")
        folder = root / kind.base_folder
        self.classes = read_plain((folder / kind.meta["filename"]).read_bytes())[kind.meta["key"]]
        batches = [
            read_plain((folder / name).read_bytes()) for name, _ in (kind.train_list if train else kind.test_list)
        ]
        # A row is 1,024 red, then green, then blue values of 32 rows.
        self.images = [row.reshape(3, 32, 32).transpose(1, 2, 0) for batch in batches for row in batch["data"]]
        self.labels = [label for batch in batches for label in batch.get("fine_labels") or batch["labels"]]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from PIL import Image

        return Image.fromarray(self.images[index]), int(self.labels[index])


def construct_cifar(kind: Any, root: Path, download: bool, arguments: Mapping[str, Any]) -> Any:
    return Cifar(kind, root, download, **arguments)


def construct_local(kind: Any, root: Path, download: bool, arguments: Mapping[str, Any]) -> Any:
    """For classes that cannot download."""
    return kind(root=str(root), **arguments)
