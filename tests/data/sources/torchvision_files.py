"""Small data sets in the real on-disk formats of torchvision's classes: two classes, three train and two test each.

``MAKERS`` has a function for every name in ``SPLITS``: it fills a root, and returns the expected labels with how often
each is in each split. Where torchvision knows the published files' checksums, those of the small ones take their
place; the classes that read and check them are the real ones.
"""

from __future__ import annotations

import bz2
import csv
import hashlib
import json
import pickle
import struct
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tests.conftest import picture

Expected = Counter[tuple[str, str | None]]
COUNTS = {"train": 3, "test": 2}


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def numbers(part: str) -> list[int]:
    """Class numbers of a part: 0 0 0 1 1 1, or 0 0 1 1."""
    return [number for number in (0, 1) for _ in range(COUNTS[part])]


def expected(first: str, second: str, counts: dict[str | None, int] | None = None) -> Expected:
    wanted = counts or {"train": 3, "test": 2}
    return Counter({(label, part): count for label in (first, second) for part, count in wanted.items()})


def grey(part: str, side: int) -> np.ndarray:
    seeds = range(len(numbers(part)))
    start = 100 * len(part)
    return np.stack([np.asarray(picture(start + seed, (side, side)).convert("L")) for seed in seeds])


def rgb(part: str, side: int) -> np.ndarray:
    start = 100 * len(part)
    return np.stack([np.asarray(picture(start + seed, (side, side))) for seed in range(len(numbers(part)))])


def save(path: Path, seed: int, form: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed).save(path, format=form)


def idx(array: np.ndarray) -> bytes:
    """The format of Pascal Vincent: type, shape, then big-endian values."""
    kind = {np.dtype(np.uint8): 8, np.dtype(np.int32): 12}[array.dtype]
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, kind, array.ndim, *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def mnist(name: str, first: str, second: str) -> Callable[[Path, pytest.MonkeyPatch], Expected]:
    def make(root: Path, patch: pytest.MonkeyPatch) -> Expected:
        folder = root / name / "raw"
        folder.mkdir(parents=True)
        for part, prefix in (("train", "train"), ("test", "t10k")):
            (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(grey(part, 28)))
            (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.array(numbers(part), dtype=np.uint8)))
        return expected(first, second)

    return make


def qmnist(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    folder = root / "QMNIST" / "raw"
    folder.mkdir(parents=True)
    for part in COUNTS:
        labels = np.zeros((len(numbers(part)), 8), dtype=np.int32)
        labels[:, 0] = numbers(part)
        (folder / f"qmnist-{part}-images-idx3-ubyte").write_bytes(idx(grey(part, 28)))
        (folder / f"qmnist-{part}-labels-idx2-int").write_bytes(idx(labels))
    return expected("0", "1")


def emnist(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    folder = root / "EMNIST" / "raw"
    folder.mkdir(parents=True)
    for part in COUNTS:
        # 10 and 36 are A and a: two classes that differ only in case.
        labels = np.array([(10, 36)[number] for number in numbers(part)], dtype=np.uint8)
        (folder / f"emnist-balanced-{part}-images-idx3-ubyte").write_bytes(idx(grey(part, 28)))
        (folder / f"emnist-balanced-{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return expected("A", "a")


def usps(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    root.mkdir(parents=True)
    for part, name in (("train", "usps.bz2"), ("test", "usps.t.bz2")):
        lines = []
        for number, image in zip(numbers(part), grey(part, 16), strict=True):
            values = " ".join(
                f"{place}:{value:.4f}" for place, value in enumerate(image.reshape(-1) / 127.5 - 1, start=1)
            )
            lines.append(f"{number + 1} {values} \n")
        (root / name).write_bytes(bz2.compress("".join(lines).encode()))
    return expected("0", "1")


def semeion(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    from graft.core.compat.torchvision import datasets

    root.mkdir(parents=True)
    lines = []
    for number, image in zip(numbers("train"), grey("train", 16), strict=True):
        pixels = " ".join(f"{value:.4f}" for value in (image.reshape(-1) > 127).astype(float))
        lines.append(pixels + " " + " ".join(str(int(place == number)) for place in range(10)) + " \n")
    (root / "semeion.data").write_text("".join(lines))
    patch.setattr(datasets.SEMEION, "md5_checksum", md5(root / "semeion.data"))
    return expected("0", "1", {None: 3})


def cifar(name: str, key: str, label_key: str) -> Callable[[Path, pytest.MonkeyPatch], Expected]:
    def make(root: Path, patch: pytest.MonkeyPatch) -> Expected:
        from graft.core.compat.torchvision import datasets

        kind = getattr(datasets, name)
        folder = root / kind.base_folder
        folder.mkdir(parents=True)
        for attribute, part in (("train_list", "train"), ("test_list", "test")):
            files = [file for file, _ in getattr(kind, attribute)]
            images, labels = rgb(part, 32), numbers(part)
            # The first file holds all; were the others left out, the number of images would not show it.
            for file in files:
                chosen = slice(None) if file == files[0] else slice(0, 0)
                rows = images[chosen].transpose(0, 3, 1, 2).reshape(-1, 3072)
                (folder / file).write_bytes(pickle.dumps({label_key: labels[chosen], "data": rows}, protocol=2))
            patch.setattr(kind, attribute, [[file, md5(folder / file)] for file in files])
        meta = folder / kind.meta["filename"]
        meta.write_bytes(pickle.dumps({key: ["airplane", "bird"]}, protocol=2))
        patch.setattr(kind, "meta", {**kind.meta, "md5": md5(meta)})
        return expected("airplane", "bird")

    return make


def svhn(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    from graft.core.compat.torchvision import datasets

    root.mkdir(parents=True)
    listed = dict(datasets.SVHN.split_list)
    for part in COUNTS:
        file = root / f"{part}_32x32.mat"
        labels = np.array([number or 10 for number in numbers(part)], dtype=np.uint8)
        savemat(file, {"X": rgb(part, 32).transpose(1, 2, 3, 0), "y": labels[:, None]})
        listed[part] = [listed[part][0], file.name, md5(file)]
    patch.setattr(datasets.SVHN, "split_list", listed)
    return expected("0", "1")


def stl10(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    from graft.core.compat.torchvision import datasets

    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    (folder / "class_names.txt").write_text("airplane\nbird\n")
    (folder / "unlabeled_X.bin").write_bytes(b"")
    for part in COUNTS:
        rgb(part, 96).transpose(0, 3, 2, 1).tofile(folder / f"{part}_X.bin")
        (np.array(numbers(part), dtype=np.uint8) + 1).tofile(folder / f"{part}_y.bin")
    for name in ("train_list", "test_list"):
        files = [file for file, _ in getattr(datasets.STL10, name)]
        patch.setattr(datasets.STL10, name, [[file, md5(folder / file)] for file in files])
    return expected("airplane", "bird")


def fer2013(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    from graft.core.compat.torchvision import datasets

    file = root / "fer2013" / "fer2013.csv"
    file.parent.mkdir(parents=True)
    with file.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["emotion", "pixels", "Usage"])
        for part, usage in (("train", "Training"), ("test", "PrivateTest")):
            for number, image in zip(numbers(part), grey(part, 48), strict=True):
                writer.writerow([number, " ".join(map(str, image.reshape(-1))), usage])
    patch.setattr(datasets.FER2013, "_RESOURCES", {**datasets.FER2013._RESOURCES, "fer": (file.name, md5(file))})
    return expected("angry", "disgust")


def gtsrb(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    folder = root / "gtsrb" / "GTSRB"
    for seed, number in enumerate(numbers("train")):
        save(folder / "Training" / f"{number:05d}" / f"{seed:05d}.ppm", seed, "PPM")
    lines = ["Filename;Width;Height;ClassId"]
    for seed, number in enumerate(numbers("test")):
        save(folder / "Final_Test" / "Images" / f"{seed:05d}.ppm", 50 + seed, "PPM")
        lines.append(f"{seed:05d}.ppm;24;20;{number}")
    (root / "gtsrb" / "GT-final_test.csv").write_text("\n".join(lines) + "\n")
    return expected("00000", "00001")


def flowers102(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    from graft.core.compat.torchvision import datasets

    folder = root / "flowers-102"
    labels = [*numbers("train"), *numbers("test"), 0, 1]
    for place in range(len(labels)):
        save(folder / "jpg" / f"image_{place + 1:05d}.jpg", place)
    savemat(folder / "imagelabels.mat", {"labels": np.array(labels) + 1})
    savemat(folder / "setid.mat", {"trnid": range(1, 7), "tstid": range(7, 11), "valid": [11, 12]})
    known = {**datasets.Flowers102._file_dict}
    for key in ("label", "setid"):
        known[key] = (known[key][0], md5(folder / known[key][0]))
    patch.setattr(datasets.Flowers102, "_file_dict", known)
    # The validation part joins the training, because there is a test.
    return expected("pink primrose", "hard-leaved pocket orchid", {"train": 4, "test": 2})


def pets(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    folder = root / "oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    for part, name in (("train", "trainval"), ("test", "test")):
        lines = []
        for seed, number in enumerate(numbers(part)):
            image = f"{('Abyssinian', 'great_pyrenees')[number]}_{part}{seed}"
            save(folder / "images" / f"{image}.jpg", len(part) * 10 + seed)
            lines.append(f"{image} {number + 1} {number + 1} 1")
        # torchvision takes the name up to the last underscore as the breed.
        (folder / "annotations" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return expected("Abyssinian", "Great Pyrenees")


def food101(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    folder = root / "food-101"
    (folder / "meta").mkdir(parents=True)
    for part in COUNTS:
        listed: dict[str, list[str]] = {"apple_pie": [], "waffles": []}
        for seed, number in enumerate(numbers(part)):
            name = list(listed)[number]
            listed[name].append(f"{name}/{part}{seed}")
            save(folder / "images" / name / f"{part}{seed}.jpg", len(part) * 10 + seed)
        (folder / "meta" / f"{part}.json").write_text(json.dumps(listed))
    return expected("apple_pie", "waffles")


def dtd(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    folder = root / "dtd" / "dtd"
    (folder / "labels").mkdir(parents=True)
    for part, count in {"train": 2, "val": 1, "test": 2}.items():
        names = [f"{name}/{name}_{part}{seed}.jpg" for name in ("banded", "dotted") for seed in range(count)]
        for seed, name in enumerate(names):
            save(folder / "images" / name, len(part) * 10 + seed)
        (folder / "labels" / f"{part}1.txt").write_text("\n".join(names) + "\n")
    return expected("banded", "dotted")


def aircraft(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    folder = root / "fgvc-aircraft-2013b" / "data"
    folder.mkdir(parents=True)
    (folder / "variants.txt").write_text("707-320\nA320\n")
    for part, name in (("train", "trainval"), ("test", "test")):
        lines = []
        for seed, number in enumerate(numbers(part)):
            save(folder / "images" / f"{len(part)}{seed}.jpg", len(part) * 10 + seed)
            lines.append(f"{len(part)}{seed} {('707-320', 'A320')[number]}")
        (folder / f"images_variant_{name}.txt").write_text("\n".join(lines) + "\n")
    return expected("707-320", "A320")


def cars(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    names = np.array(["AM General Hummer SUV 2000", "Acura RL Sedan 2012"], dtype=object)
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": names})
    for part, file in (("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        rows = []
        for seed, number in enumerate(numbers(part)):
            save(folder / f"cars_{part}" / f"{seed:05d}.jpg", len(part) * 10 + seed)
            rows.append((f"{seed:05d}.jpg", number + 1))
        savemat(folder / file, {"annotations": np.array(rows, dtype=[("fname", "O"), ("class", "O")])})
    return expected(*names)


def folders(base: str, parts: dict[str, str], names: tuple[str, str], suffix: str) -> Callable[..., Expected]:
    def make(root: Path, patch: pytest.MonkeyPatch) -> Expected:
        for turn, (part, split) in enumerate(parts.items()):
            for place, name in enumerate(names):
                for number in range(COUNTS[split]):
                    save(root / base / part / name / f"{part}{number}{suffix}", turn * 100 + place * 10 + number)
        counts = Counter(parts.values())
        wanted = {split: COUNTS[split] * many for split, many in counts.items()}
        return expected(*names, wanted if parts.keys() != {""} else {None: 3})

    return make


def imagenette(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    folders("imagenette2", {"train": "train", "val": "test"}, ("n01440764", "n02102040"), ".jpeg")(root, patch)
    return expected("tench", "English springer")


def caltech101(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    folder = root / "caltech101" / "101_ObjectCategories"
    for name in ("BACKGROUND_Google", "ant", "beaver"):
        for number in range(1, 4):
            save(folder / name / f"image_{number:04d}.jpg", len(name) * 10 + number)
    return expected("ant", "beaver", {None: 3})


def caltech256(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    for place, name in enumerate(("001.ak47", "002.american-flag"), start=1):
        for number in range(1, 4):
            file = root / "caltech256" / "256_ObjectCategories" / name / f"{place:03d}_{number:04d}.jpg"
            save(file, place * 10 + number)
    return expected("001.ak47", "002.american-flag", {None: 3})


def sun397(root: Path, patch: pytest.MonkeyPatch) -> Expected:
    folder = root / "SUN397"
    for place, name in enumerate(("a/abbey", "a/apse/indoor")):
        for number in range(3):
            save(folder / name / f"sun_{place}{number}.jpg", place * 10 + number)
    (folder / "ClassName.txt").write_text("/a/abbey\n/a/apse/indoor\n")
    return expected("abbey", "apse/indoor", {None: 3})


MAKERS: dict[str, Callable[[Path, pytest.MonkeyPatch], Expected]] = {
    "MNIST": mnist("MNIST", "0", "1"),
    "FashionMNIST": mnist("FashionMNIST", "T-shirt/top", "Trouser"),
    "KMNIST": mnist("KMNIST", "o", "ki"),
    "QMNIST": qmnist,
    "EMNIST": emnist,
    "USPS": usps,
    "SEMEION": semeion,
    "CIFAR10": cifar("CIFAR10", "label_names", "labels"),
    "CIFAR100": cifar("CIFAR100", "fine_label_names", "fine_labels"),
    "SVHN": svhn,
    "STL10": stl10,
    "FER2013": fer2013,
    "GTSRB": gtsrb,
    "Flowers102": flowers102,
    "OxfordIIITPet": pets,
    "Food101": food101,
    "DTD": dtd,
    "FGVCAircraft": aircraft,
    "StanfordCars": cars,
    "EuroSAT": folders("eurosat/2750", {"": "train"}, ("Forest", "River"), ".jpg"),
    "Country211": folders("country211", {"train": "train", "valid": "train", "test": "test"}, ("AD", "AE"), ".jpg"),
    "RenderedSST2": folders(
        "rendered-sst2", {"train": "train", "valid": "train", "test": "test"}, ("negative", "positive"), ".png"
    ),
    "Imagenette": imagenette,
    "Caltech101": caltech101,
    "Caltech256": caltech256,
    "SUN397": sun397,
}
