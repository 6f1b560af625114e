"""The data sets that ``torchvision:<Dataset>`` can name: a row each, read by torchvision's own classes.

To add one, add a row to ``SETS``. Only sets of images with one class each are here. What torchvision decodes into
arrays becomes PNG files; image files are taken as they are. Their own division into train, val and test is honoured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graft.images.torchvision_readers import (
    Construct,
    Named,
    Samples,
    by_categories,
    by_classes,
    by_feeling,
    by_first_synonym,
    caltech,
    construct_any,
    construct_cifar,
    construct_local,
    digit,
    images_and_labels,
    pets,
    private_samples,
    public_samples,
    sign,
)


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
    construct: Construct = construct_any


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
        digit,
    ),
    TorchvisionSet(
        "FashionMNIST",
        "FashionMNIST/raw",
        "FashionMNIST/raw",
        _at("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/", *_IDX),
        _TRAIN_OR_NOT,
        by_classes,
    ),
    TorchvisionSet(
        "KMNIST",
        "KMNIST/raw",
        "KMNIST/raw",
        _at("http://codh.rois.ac.jp/kmnist/dataset/kmnist/", *_IDX),
        _TRAIN_OR_NOT,
        by_classes,
    ),
    TorchvisionSet(
        "QMNIST",
        "QMNIST/raw",
        "QMNIST/raw",
        _at("https://raw.githubusercontent.com/facebookresearch/qmnist/master/", *_QMNIST),
        _TRAIN_OR_NOT,
        digit,
    ),
    TorchvisionSet(  # of its six divisions the one with equally many images of each class
        "EMNIST",
        "EMNIST/raw",
        "EMNIST/raw",
        _at("https://biometrics.nist.gov/cs_links/EMNIST/", "gzip.zip"),
        {part: {"split": "balanced", **arguments} for part, arguments in _TRAIN_OR_NOT.items()},
        by_classes,
    ),
    TorchvisionSet("USPS", "usps.bz2", ".", _at(_LIBSVM, "usps.bz2", "usps.t.bz2"), _TRAIN_OR_NOT, digit),
    TorchvisionSet(
        "SEMEION",
        "semeion.data",
        ".",
        _at("http://archive.ics.uci.edu/ml/machine-learning-databases/semeion/", "semeion.data"),
        _UNDIVIDED,
        digit,
    ),
    TorchvisionSet(
        "CIFAR10",
        "cifar-10-batches-py",
        ".",
        _at("https://www.cs.toronto.edu/~kriz/", "cifar-10-python.tar.gz"),
        _TRAIN_OR_NOT,
        by_classes,
        construct=construct_cifar,
    ),
    TorchvisionSet(
        "CIFAR100",
        "cifar-100-python",
        ".",
        _at("https://www.cs.toronto.edu/~kriz/", "cifar-100-python.tar.gz"),
        _TRAIN_OR_NOT,
        by_classes,
        construct=construct_cifar,
    ),
    TorchvisionSet(
        "SVHN",
        "train_32x32.mat",
        ".",
        _at("http://ufldl.stanford.edu/housenumbers/", "train_32x32.mat", "test_32x32.mat"),
        _TWO,
        digit,
    ),
    TorchvisionSet(
        "STL10",
        "stl10_binary",
        ".",
        _at("http://ai.stanford.edu/~acoates/stl10/", "stl10_binary.tar.gz"),
        _TWO,
        by_classes,
    ),
    TorchvisionSet("FER2013", "fer2013", "fer2013", (), _TWO, by_feeling, construct=construct_local),
    TorchvisionSet(  # its files are PPM
        "GTSRB",
        "gtsrb",
        "gtsrb",
        _at(_GTSRB, "GTSRB-Training_fixed.zip", "GTSRB_Final_Test_Images.zip", "GTSRB_Final_Test_GT.zip"),
        _TWO,
        sign,
    ),
    TorchvisionSet(
        "Flowers102",
        "flowers-102",
        "flowers-102",
        _at(f"{_VGG}flowers/102/", "102flowers.tgz", "imagelabels.mat", "setid.mat"),
        _THREE,
        by_classes,
        images_and_labels,
    ),
    TorchvisionSet(
        "OxfordIIITPet",
        "oxford-iiit-pet",
        "oxford-iiit-pet",
        _at(f"{_VGG}pets/data/", "images.tar.gz", "annotations.tar.gz"),
        _TRAINVAL,
        by_classes,
        pets,
    ),
    TorchvisionSet(
        "Food101",
        "food-101",
        ".",
        _at("http://data.vision.ee.ethz.ch/cvl/", "food-101.tar.gz"),
        _TWO,
        by_classes,
        images_and_labels,
    ),
    TorchvisionSet(
        "DTD",
        "dtd/dtd",
        "dtd",
        _at(f"{_VGG}dtd/download/", "dtd-r1.0.1.tar.gz"),
        _THREE,
        by_classes,
        images_and_labels,
    ),
    TorchvisionSet(
        "FGVCAircraft",
        "fgvc-aircraft-2013b",
        ".",
        _at(f"{_VGG}fgvc-aircraft/archives/", "fgvc-aircraft-2013b.tar.gz"),
        _TRAINVAL,
        by_classes,
        images_and_labels,
    ),
    TorchvisionSet(
        "StanfordCars",
        "stanford_cars",
        "stanford_cars",
        (),
        _TWO,
        by_classes,
        private_samples,
        construct_local,
    ),
    TorchvisionSet(
        "EuroSAT", "eurosat/2750", "eurosat", _at(_EUROSAT, "EuroSAT.zip"), _UNDIVIDED, by_classes, public_samples
    ),
    TorchvisionSet(
        "Country211",
        "country211",
        ".",
        _at(_CLIP, "country211.tgz"),
        {"train": {"split": "train"}, "val": {"split": "valid"}, "test": {"split": "test"}},
        by_classes,
        public_samples,
    ),
    TorchvisionSet(
        "RenderedSST2",
        "rendered-sst2",
        ".",
        _at(_CLIP, "rendered-sst2.tgz"),
        _THREE,
        by_classes,
        private_samples,
    ),
    TorchvisionSet(
        "Imagenette",
        "imagenette2",
        ".",
        _at("https://s3.amazonaws.com/fast-ai-imageclas/", "imagenette2.tgz"),
        {"train": {"split": "train"}, "val": {"split": "val"}},
        by_first_synonym,
        private_samples,
    ),
    TorchvisionSet(
        "Caltech101",
        "caltech101/101_ObjectCategories",
        "caltech101",
        _at("https://data.caltech.edu/records/mzrjq-6wc02/files/", "caltech-101.zip"),
        _UNDIVIDED,
        by_categories,
        caltech("101_ObjectCategories", "image_{index:04d}.jpg"),
    ),
    TorchvisionSet(
        "Caltech256",
        "caltech256/256_ObjectCategories",
        "caltech256",
        _at("https://data.caltech.edu/records/nyy15-4j048/files/", "256_ObjectCategories.tar"),
        _UNDIVIDED,
        by_categories,
        caltech("256_ObjectCategories", "{number:03d}_{index:04d}.jpg"),
    ),
    TorchvisionSet(
        "SUN397",
        "SUN397",
        ".",
        _at("http://vision.princeton.edu/projects/2010/SUN/", "SUN397.tar.gz"),
        _UNDIVIDED,
        by_classes,
        images_and_labels,
    ),
)
SETS = {row.name: row for row in _ROWS}
