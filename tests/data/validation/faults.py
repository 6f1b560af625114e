"""A clean table of images, and for every check the fault that breaks it and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from graft.core.settings import Params, Validation
from graft.data.doctor.doctor import DEFAULTS
from graft.data.validation.builtin_checks import LARGE_CLUSTER
from graft.data.validation.drift import Distribution, summarise
from graft.data.validation.suite import Reference
from graft.modalities.image.modality import ImageModality

PER_CLASS = 30


def params_with(limits: Validation) -> Params:
    """graft's defaults but for these limits."""
    return replace(DEFAULTS.params, validation=limits)


def summarised(manifest: pd.DataFrame) -> dict[str, Distribution]:
    """The distributions of the features of images."""
    return summarise(manifest, ImageModality.drift_features)


def clean_manifest() -> pd.DataFrame:
    """60 unlike images of two classes, divided, with every statistic a little spread."""
    rng = np.random.default_rng(7)
    count = 2 * PER_CLASS
    labels = ["cat"] * PER_CLASS + ["dog"] * PER_CLASS
    paths = [f"{label}/{number:02d}.jpg" for number, label in enumerate(labels)]
    table = pd.DataFrame(
        {
            "path": paths,
            "source": paths,
            "label": labels,
            "split": ["test" if number % 3 == 0 else "train" for number in range(count)],
            "group": pd.Series([None] * count, dtype="str"),
            "width": rng.integers(200, 300, count),
            "height": rng.integers(200, 300, count),
            "mode": "RGB",
            "format": "JPEG",
            "frames": 1,
            "bytes": rng.integers(20_000, 30_000, count),
            "pixel_sha256": [hashlib.sha256(path.encode()).hexdigest() for path in paths],
            # Random hashes are about 128 of 256 bits apart.
            "phash": [rng.bytes(32).hex() for _ in paths],
            "brightness": rng.uniform(0.4, 0.6, count),
            "contrast": rng.uniform(0.2, 0.3, count),
            "sharpness": rng.uniform(20.0, 30.0, count),
            "entropy": rng.uniform(6.0, 7.0, count),
            # One image has more than 8 bits.
            "depth_low": [0.0 if number == 4 else np.nan for number in range(count)],
            "depth_high": [1.0 if number == 4 else np.nan for number in range(count)],
            "problems": pd.Series([None] * count, dtype="str"),
        }
    )
    whole = dict.fromkeys(("width", "height", "frames", "bytes"), "Int64")
    return table.astype({**whole, **dict.fromkeys(("path", "source", "label", "split", "mode", "format"), "str")})


@dataclass(frozen=True)
class Case:
    """Everything that a validation looks at, all checks switched on."""

    manifest: pd.DataFrame = field(default_factory=clean_manifest)
    limits: Validation = field(
        default_factory=lambda: Validation(max_imbalance=2.0, allowed_modes=("RGB", "L"), allowed_formats=("JPEG",))
    )
    reference: Reference = field(default_factory=lambda: Reference(("cat", "dog"), summarised(clean_manifest())))

    def having(self, row: int, **values: object) -> Case:
        """The same with other values in a row."""
        manifest = self.manifest.copy()
        for name, value in values.items():
            manifest.loc[row, name] = value
        return replace(self, manifest=manifest)

    def without(self, rows: pd.Series) -> Case:
        """The same without some rows."""
        return replace(self, manifest=self.manifest[~rows].reset_index(drop=True))

    def with_copies(self, count: int) -> Case:
        """The same with images 1 to ``count``, all of the first class, looking like image 1."""
        case = self
        for row in range(1, count + 1):
            case = case.having(row, phash=self.manifest.at[1, "phash"], split="train")
        return case


def _decodable(case: Case) -> Case:
    facts = ("width", "height", "mode", "format", "frames", "pixel_sha256", "phash", "brightness", "contrast")
    return case.having(13, problems="it ends too soon", **dict.fromkeys((*facts, "sharpness", "entropy"), pd.NA))


def _two_classes(case: Case) -> Case:
    return replace(case.without(case.manifest["label"] == "dog"), reference=Reference(("cat",), None))


def _images_per_class(case: Case) -> Case:
    few = case.without((case.manifest["label"] == "dog") & (case.manifest.index >= PER_CLASS + 4))
    return replace(few, limits=replace(case.limits, max_imbalance=100.0), reference=Reference(("cat", "dog"), None))


def _balance(case: Case) -> Case:
    few = case.without((case.manifest["label"] == "dog") & (case.manifest.index >= PER_CLASS + 10))
    return replace(few, reference=Reference(("cat", "dog"), None))


def _conflict(case: Case) -> Case:
    return case.having(45, pixel_sha256=case.manifest.at[14, "pixel_sha256"])


def _one_scene(case: Case) -> Case:
    """Two scenes, each with images of both classes."""
    for row in range(2 * PER_CLASS):
        case = case.having(row, phash=str(case.manifest.at[row % 2, "phash"])[:-2] + f"{row:02x}")
    return case


def _drift(case: Case) -> Case:
    return replace(case, manifest=case.manifest.assign(brightness=case.manifest["brightness"] + 0.3))


# The name of a check -> what breaks it. A new row in CHECKS needs a new row here.
FAULTS: dict[str, Callable[[Case], Case]] = {
    "decodable": _decodable,
    "labelled": lambda case: case.having(4, label=" "),
    "two_classes": _two_classes,
    "images_per_class": _images_per_class,
    "label_conflict": _conflict,
    "duplicates_across_splits": lambda case: case.having(24, group="patient 1").having(25, group="patient 1"),
    "balance": _balance,
    "resolution": lambda case: case.having(5, width=7, height=7),
    "proportions": lambda case: case.having(3, width=900, height=300),
    "depth": lambda case: case.having(2, depth_low=0.0, depth_high=0.0625),
    "transparency": lambda case: case.having(15, mode="RGBA", brightness=0.99, contrast=0.001),
    "brightness": lambda case: case.having(6, brightness=0.01),
    "contrast": lambda case: case.having(7, contrast=0.001),
    "entropy": lambda case: case.having(8, entropy=0.01),
    "allowed_modes": lambda case: case.having(9, mode="CMYK"),
    "allowed_formats": lambda case: case.having(10, format="PNG"),
    "sharpness": lambda case: case.having(11, sharpness=0.5),
    "one_frame": lambda case: case.having(12, frames=2),
    "one_scene": _one_scene,
    "duplicates": lambda case: case.with_copies(2),
    "cluster_size": lambda case: case.with_copies(LARGE_CLUSTER + 1),
    "model_classes": lambda case: replace(case, reference=replace(case.reference, classes=("bird", "cat", "dog"))),
    "drift": _drift,
}

# What a fault cannot break alone, since it is a case of something else as well.
ENTAILED = {
    "transparency": {"brightness", "contrast", "allowed_modes"},
    "label_conflict": {"duplicates", "duplicates_across_splits"},
    "cluster_size": {"duplicates"},
}

# Who is named by each fault; a class is named by its first files.
NAMED = {
    "decodable": "cat/13.jpg",
    "labelled": "cat/04.jpg",
    "resolution": "cat/05.jpg",
    "proportions": "cat/03.jpg",
    "depth": "cat/02.jpg",
    "transparency": "cat/15.jpg",
    "brightness": "cat/06.jpg",
    "contrast": "cat/07.jpg",
    "entropy": "cat/08.jpg",
    "allowed_modes": "cat/09.jpg",
    "allowed_formats": "cat/10.jpg",
    "sharpness": "cat/11.jpg",
    "one_frame": "cat/12.jpg",
    "two_classes": "cat/00.jpg",
    "images_per_class": "dog/30.jpg",
    "balance": "dog/30.jpg",
    "label_conflict": "cat/14.jpg",
    "duplicates_across_splits": "cat/24.jpg",
    "one_scene": "cat/00.jpg",
    "duplicates": "cat/01.jpg",
    "cluster_size": "cat/01.jpg",
    "model_classes": "bird",
    "drift": "brightness",
}
