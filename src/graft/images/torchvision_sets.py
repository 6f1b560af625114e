"""The data sets that ``torchvision:<Dataset>`` can name: a row each, read by torchvision's own classes.

To add one, add a row to ``SETS``. Only sets of images with one class each are here. What torchvision decodes into
arrays becomes PNG files; image files are taken as they are. Their own division into train, val and test is honoured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.images.plain_pickle import read_plain

# (image file, class number) for each image.
Samples = Callable[[Any], Iterable[tuple[Any, int]]]
# A data set's class and the number of a class -> the class's name.
Named = Callable[[Any, int], str]


def _construct(kind: Any, root: Path, download: bool, arguments: Mapping[str, Any]) -> Any:
    """How most of torchvision's classes are made."""
    return kind(root=str(root), download=download, **arguments)


@dataclass(frozen=True)
class TorchvisionSet:
    """One data set.

    Attributes:
        name: of the class in ``torchvision.datasets``.
        folder: what torchvision looks for in the root it is given.
        archives: the folder that holds the downloaded files, from the root.
        urls: the files that are downloaded; none where torchvision cannot download the set.
        parts: for each part (train, val, test, or "" where it is not divided) the class's arguments.
        named: a class's name.
        samples: the image files; None where torchvision holds the images as arrays, or in a format graft does not open.
        construct: makes torchvision's object of one part.
    """

    name: str
    folder: str
    archives: str
    urls: tuple[str, ...]
    parts: Mapping[str, Mapping[str, Any]]
    named: Named
    samples: Samples | None = None
    construct: Callable[[Any, Path, bool, Mapping[str, Any]], Any] = _construct


def _digit(data: Any, number: int) -> str:
    return str(number)


def _sign(data: Any, number: int) -> str:
    return f"{number:05d}"


def _by_classes(data: Any, number: int) -> str:
    return str(data.classes[number])


def _by_first_synonym(data: Any, number: int) -> str:
    return str(data.classes[number][0])


def _by_categories(data: Any, number: int) -> str:
    return str(data.categories[number])


def _by_feeling(data: Any, number: int) -> str:
    return ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")[number]


def _images_and_labels(data: Any) -> Iterable[tuple[Any, int]]:
    return zip(data._image_files, data._labels, strict=True)


def _pets(data: Any) -> Iterable[tuple[Any, int]]:
    return zip(data._images, data._labels, strict=True)


def _private_samples(data: Any) -> Iterable[tuple[Any, int]]:
    return ((path, int(number)) for path, number in data._samples)


def _public_samples(data: Any) -> Iterable[tuple[Any, int]]:
    return ((path, int(number)) for path, number in data.samples)


def _caltech(folder: str, pattern: str) -> Samples:
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


def _construct_cifar(kind: Any, root: Path, download: bool, arguments: Mapping[str, Any]) -> Any:
    return Cifar(kind, root, download, **arguments)


def _construct_local(kind: Any, root: Path, download: bool, arguments: Mapping[str, Any]) -> Any:
    """For classes that cannot download."""
    return kind(root=str(root), **arguments)


_TRAIN_OR_NOT = {"train": {"train": True}, "test": {"train": False}}
_TWO = {"train": {"split": "train"}, "test": {"split": "test"}}
_THREE = {"train": {"split": "train"}, "val": {"split": "val"}, "test": {"split": "test"}}
_TRAINVAL = {"train": {"split": "trainval"}, "test": {"split": "test"}}
_UNDIVIDED: Mapping[str, Mapping[str, Any]] = {"": {}}
_IDX = tuple(f"{part}-{kind}.gz" for part in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))
_QMNIST = tuple(
    f"qmnist-{part}-{kind}.gz" for part in ("train", "test") for kind in ("images-idx3-ubyte", "labels-idx2-int")
)


def _at(base: str, *names: str) -> tuple[str, ...]:
    return tuple(base + name for name in names)


_LIBSVM = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/"
_CLIP = "https://openaipublic.azureedge.net/clip/data/"
_GTSRB = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/"
_VGG = "https://www.robots.ox.ac.uk/~vgg/data/"
_EUROSAT = "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/"

_ROWS = (
    TorchvisionSet(
        "MNIST",
        "MNIST/raw",
        "MNIST/raw",
        _at("https://ossci-datasets.s3.amazonaws.com/mnist/", *_IDX),
        _TRAIN_OR_NOT,
        _digit,
    ),
    TorchvisionSet(
        "FashionMNIST",
        "FashionMNIST/raw",
        "FashionMNIST/raw",
        _at("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", *_IDX),
        _TRAIN_OR_NOT,
        _by_classes,
    ),
    TorchvisionSet(
        "KMNIST",
        "KMNIST/raw",
        "KMNIST/raw",
        _at("http://codh.rois.ac.jp/kmnist/dataset/kmnist/", *_IDX),
        _TRAIN_OR_NOT,
        _by_classes,
    ),
    TorchvisionSet(
        "QMNIST",
        "QMNIST/raw",
        "QMNIST/raw",
        _at("https://raw.githubusercontent.com/facebookresearch/qmnist/master/", *_QMNIST),
        _TRAIN_OR_NOT,
        _digit,
    ),
    TorchvisionSet(  # of its six divisions the one with equally many images of each class
        "EMNIST",
        "EMNIST/raw",
        "EMNIST/raw",
        _at("https://biometrics.nist.gov/cs_links/EMNIST/", "gzip.zip"),
        {part: {"split": "balanced", **arguments} for part, arguments in _TRAIN_OR_NOT.items()},
        _by_classes,
    ),
    TorchvisionSet("USPS", "usps.bz2", ".", _at(_LIBSVM, "usps.bz2", "usps.t.bz2"), _TRAIN_OR_NOT, _digit),
    TorchvisionSet(
        "SEMEION",
        "semeion.data",
        ".",
        _at("http://archive.ics.uci.edu/ml/machine-learning-databases/semeion/", "semeion.data"),
        _UNDIVIDED,
        _digit,
    ),
    TorchvisionSet(
        "CIFAR10",
        "cifar-10-batches-py",
        ".",
        _at("https://www.cs.toronto.edu/~kriz/", "cifar-10-python.tar.gz"),
        _TRAIN_OR_NOT,
        _by_classes,
        construct=_construct_cifar,
    ),
    TorchvisionSet(
        "CIFAR100",
        "cifar-100-python",
        ".",
        _at("https://www.cs.toronto.edu/~kriz/", "cifar-100-python.tar.gz"),
        _TRAIN_OR_NOT,
        _by_classes,
        construct=_construct_cifar,
    ),
    TorchvisionSet(
        "SVHN",
        "train_32x32.mat",
        ".",
        _at("http://ufldl.stanford.edu/housenumbers/", "train_32x32.mat", "test_32x32.mat"),
        _TWO,
        _digit,
    ),
    TorchvisionSet(
        "STL10",
        "stl10_binary",
        ".",
        _at("http://ai.stanford.edu/~acoates/stl10/", "stl10_binary.tar.gz"),
        _TWO,
        _by_classes,
    ),
    TorchvisionSet("FER2013", "fer2013", "fer2013", (), _TWO, _by_feeling, construct=_construct_local),
    TorchvisionSet(  # its files are PPM
        "GTSRB",
        "gtsrb",
        "gtsrb",
        _at(_GTSRB, "GTSRB-Training_fixed.zip", "GTSRB_Final_Test_Images.zip", "GTSRB_Final_Test_GT.zip"),
        _TWO,
        _sign,
    ),
    TorchvisionSet(
        "Flowers102",
        "flowers-102",
        "flowers-102",
        _at(f"{_VGG}flowers/102/", "102flowers.tgz", "imagelabels.mat", "setid.mat"),
        _THREE,
        _by_classes,
        _images_and_labels,
    ),
    TorchvisionSet(
        "OxfordIIITPet",
        "oxford-iiit-pet",
        "oxford-iiit-pet",
        _at(f"{_VGG}pets/data/", "images.tar.gz", "annotations.tar.gz"),
        _TRAINVAL,
        _by_classes,
        _pets,
    ),
    TorchvisionSet(
        "Food101",
        "food-101",
        ".",
        _at("http://data.vision.ee.ethz.ch/cvl/", "food-101.tar.gz"),
        _TWO,
        _by_classes,
        _images_and_labels,
    ),
    TorchvisionSet(
        "DTD",
        "dtd/dtd",
        "dtd",
        _at(f"{_VGG}dtd/download/", "dtd-r1.0.1.tar.gz"),
        _THREE,
        _by_classes,
        _images_and_labels,
    ),
    TorchvisionSet(
        "FGVCAircraft",
        "fgvc-aircraft-2013b",
        ".",
        _at(f"{_VGG}fgvc-aircraft/archives/", "fgvc-aircraft-2013b.tar.gz"),
        _TRAINVAL,
        _by_classes,
        _images_and_labels,
    ),
    TorchvisionSet(
        "StanfordCars",
        "stanford_cars",
        "stanford_cars",
        (),
        _TWO,
        _by_classes,
        _private_samples,
        _construct_local,
    ),
    TorchvisionSet(
        "EuroSAT", "eurosat/2750", "eurosat", _at(_EUROSAT, "EuroSAT.zip"), _UNDIVIDED, _by_classes, _public_samples
    ),
    TorchvisionSet(
        "Country211",
        "country211",
        ".",
        _at(_CLIP, "country211.tgz"),
        {"train": {"split": "train"}, "val": {"split": "valid"}, "test": {"split": "test"}},
        _by_classes,
        _public_samples,
    ),
    TorchvisionSet(
        "RenderedSST2",
        "rendered-sst2",
        ".",
        _at(_CLIP, "rendered-sst2.tgz"),
        _THREE,
        _by_classes,
        _private_samples,
    ),
    TorchvisionSet(
        "Imagenette",
        "imagenette2",
        ".",
        _at("https://s3.amazonaws.com/fast-ai-imageclas/", "imagenette2.tgz"),
        {"train": {"split": "train"}, "val": {"split": "val"}},
        _by_first_synonym,
        _private_samples,
    ),
    TorchvisionSet(
        "Caltech101",
        "caltech101/101_ObjectCategories",
        "caltech101",
        _at("https://data.caltech.edu/records/mzrjq-6wc02/files/", "caltech-101.zip"),
        _UNDIVIDED,
        _by_categories,
        _caltech("101_ObjectCategories", "image_{index:04d}.jpg"),
    ),
    TorchvisionSet(
        "Caltech256",
        "caltech256/256_ObjectCategories",
        "caltech256",
        _at("https://data.caltech.edu/records/nyy15-4j048/files/", "256_ObjectCategories.tar"),
        _UNDIVIDED,
        _by_categories,
        _caltech("256_ObjectCategories", "{number:03d}_{index:04d}.jpg"),
    ),
    TorchvisionSet(
        "SUN397",
        "SUN397",
        ".",
        _at("http://vision.princeton.edu/projects/2010/SUN/", "SUN397.tar.gz"),
        _UNDIVIDED,
        _by_classes,
        _images_and_labels,
    ),
)
SETS = {row.name: row for row in _ROWS}
