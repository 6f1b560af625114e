"""``data`` and ``validation``: where the images come from, how they are divided, what is expected of them."""

from __future__ import annotations

import dataclasses
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from graft.core.settings.constraints import SECTION, Fraction, NonNegative, Positive, Share, Text

Severity = Literal["critical", "warning", "quarantine"]
SeverityChoice = Literal["critical", "warning", "quarantine", "ignore"]
Format = Literal["JPEG", "PNG", "WEBP", "HEIF", "BMP", "GIF", "TIFF"]


def _one_group(pattern: str) -> str:
    """A regular expression with one group."""
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"it is no regular expression: {error}") from None
    if groups != 1:
        raise ValueError(f"it has {groups} groups, and one is to be the label")
    return pattern


@dataclass(frozen=True, config=SECTION)
class Data:
    """Where the images come from and how they are divided."""

    source: Text = "digits"
    """digits, a folder of class folders or tar files, a .csv or .parquet table, or torchvision:<Dataset>"""
    modality: Text = "auto"
    """what a sample is: image, or auto, which is image"""
    task: Annotated[str, Field(min_length=1)] = "auto"
    """what is said of a sample; auto: by the kind of target, so far classification"""
    label_from: Annotated[str, AfterValidator(_one_group)] | None = None
    """regular expression whose one group is the label in a file's path (relative to the source, with /); for folders
    and tar files; null: the class folder's name"""
    follow_links: bool = False
    """read links that lead out of the folder, each folder once"""
    pack: Annotated[int, Field(ge=0, le=9999)] = 0
    """tar files that data/raw is packed into; 0: a file for each image"""
    split: Literal["stratified", "hash"] = "stratified"
    """how undivided data is divided: stratified (each class has its share in the test, earlier divisions are
    remembered) or hash (each image by its own hash, nothing is remembered)"""
    test_fraction: Fraction = 0.2
    """share of images kept for the test"""
    train_per_class: Positive | None = None
    """labelled images per class to train on, the rest is tested; null: all; for undivided data"""


@dataclass(frozen=True, config=SECTION)
class Validation:
    """Thresholds of the expectations over the manifest."""

    min_images_per_class: Positive = 5
    """images a class must have"""
    max_imbalance: Annotated[float, Field(ge=1)] = 20.0
    """largest class over smallest, a ratio"""
    min_side: Positive = 8
    """shorter side of an image, in pixels"""
    brightness: tuple[float, float] = (0.02, 0.98)
    """allowed mean luminance, 0 to 1"""
    min_contrast: Annotated[float, Field(ge=0, le=0.5)] = 0.005
    """least standard deviation of luminance, 0 to 0.5"""
    min_sharpness: NonNegative = 2.0
    """least standard deviation of the Laplacian, grey levels of 255"""
    min_entropy: Annotated[float, Field(ge=0, le=8)] = 0.1
    """least Shannon entropy of the grey levels, in bits, 0 to 8"""
    allowed_modes: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Pillow's modes that files may have, such as RGB, L, RGBA, I;16; null: any"""
    allowed_formats: Annotated[tuple[Format, ...], Field(min_length=1)] | None = None
    """formats that files may have, such as JPEG, PNG; null: any that graft reads"""
    near_duplicate_distance: Annotated[int, Field(ge=0, le=63)] = 45
    """largest Hamming distance of two 256-bit perceptual hashes that counts as one image"""
    max_cut_away: Share = 0.45
    """largest share of an image that its centre square does not show, 0 to 1"""
    min_range_used: Share = 0.1
    """least share of the 256 grey levels that an image of more than 8 bits uses, 0 to 1, as image.depth_scaling
    scales it"""
    max_drift: Annotated[float, Field(gt=0, le=1)] = 0.2
    """largest distance of a feature's distribution from that of the last validated data: the share of images by which
    they differ, 0 to 1"""
    severity: dict[str, SeverityChoice] = dataclasses.field(default_factory=dict)
    """for a check of the data what its failure does: critical stops, warning reports, quarantine leaves the files out
    and lists them, ignore does not look; one left out has its own"""
