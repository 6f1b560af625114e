"""The suite: a planted fault for every check, each found under its name with its files, and no false alarm."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from graft.core.settings import Validation
from graft.data.doctor.audit import load
from graft.data.doctor.doctor import DEFAULTS
from graft.data.validation.findings import Finding, refuses
from graft.data.validation.suite import validate_manifest
from tests.conftest import picture, write_classes
from tests.data.validation.faults import params_with

LIMITS = Validation(min_images_per_class=3, max_imbalance=3.0)


def manifest_of(folder: Path) -> pd.DataFrame:
    return load(str(folder), DEFAULTS).manifest


def broken(folder: Path, limits: Validation = LIMITS) -> dict[str, Finding]:
    return {
        item.check: item for item in validate_manifest(manifest_of(folder), params_with(limits)) if not item.success
    }


def test_a_clean_folder_meets_everything(make_classes: Callable[..., Path]) -> None:
    findings = validate_manifest(
        manifest_of(make_classes({"train/a": 4, "train/b": 4, "test/a": 2, "test/b": 2})), params_with(LIMITS)
    )
    assert [item.check for item in findings if not item.success] == []
    assert not refuses(findings)


def test_without_given_splits_nothing_is_asked_about_them(make_classes: Callable[..., Path]) -> None:
    findings = validate_manifest(manifest_of(make_classes({"a": 4, "b": 4})), params_with(LIMITS))
    assert "duplicates_across_splits" not in [item.check for item in findings]


def plant_text(folder: Path) -> None:
    (folder / "a" / "bad.jpg").write_text("text")


def plant_small_class(folder: Path) -> None:
    write_classes(folder, {"d": 2}, seed=500)


def plant_conflict(folder: Path) -> None:
    shutil.copy(folder / "a/a_000.png", folder / "b/same.png")


def plant_imbalance(folder: Path) -> None:
    write_classes(folder, {"c": 13}, seed=700)


def plant_small(folder: Path) -> None:
    picture(900, (30, 7)).save(folder / "a/small.png")


def plant_dark(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 6, (20, 20, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "a/dark.png")


def plant_blank(folder: Path) -> None:
    Image.new("RGB", (20, 20), "grey").save(folder / "a/blank.png")


def plant_animation(folder: Path) -> None:
    picture(901).save(folder / "a/moves.gif", save_all=True, append_images=[picture(902)])


def plant_copy(folder: Path) -> None:
    with Image.open(folder / "a/a_000.png") as image:
        image.save(folder / "a/copy.bmp")


def plant_many_copies(folder: Path) -> None:
    for number in range(21):
        shutil.copy(folder / "a/a_003.png", folder / f"a/many_{number}.png")


# Where, apart from its being found at all, matters how it is worded: what is planted, who is named, what is said.
PLANTED = [
    (plant_text, "decodable", "a/bad.jpg", "this is not an image but text; graft reads"),
    (plant_small_class, "images_per_class", "d/d_000.png", "class 'd', images: 2"),
    (plant_conflict, "label_conflict", "b/same.png", "also a/a_000.png (a)"),
    (plant_small, "resolution", "a/small.png", "7 px"),
    (plant_dark, "brightness", "a/dark.png", "mean luminance 0.0"),
    (plant_blank, "sharpness", "a/blank.png", "sharpness 0"),
    (plant_blank, "contrast", "a/blank.png", "contrast 0"),
    (plant_animation, "one_frame", "a/moves.gif", "frames: 2"),
    (plant_animation, "allowed_formats", "a/moves.gif", "format GIF"),
    (plant_copy, "duplicates", "a/copy.bmp", "like a/a_000.png"),
    (plant_imbalance, "balance", "b/b_000.png", "times smaller than the largest"),
    (plant_many_copies, "cluster_size", "a/many_3.png", "like a/a_003.png, a/many_0.png, a/many_1.png ..."),
]


def test_every_fault_of_a_real_folder_is_found_by_name(make_classes: Callable[..., Path]) -> None:
    folder = make_classes({"a": 4, "b": 4})
    for plant in dict.fromkeys(plant for plant, *_ in PLANTED):
        plant(folder)
    found = broken(folder, replace(LIMITS, allowed_formats=("PNG", "BMP")))
    for _, check, file, value in PLANTED:
        (item,) = [each for each in found[check].failing if each.source == file]
        assert value in item.value, check
        assert file in found[check].sentence(most=100)


def test_a_single_class_is_refused(make_classes: Callable[..., Path]) -> None:
    finding = broken(make_classes({"a": 4}))["two_classes"]
    assert finding.stops
    assert (finding.failing[0].source, finding.failing[0].value) == ("a/a_000.png", "class 'a'")


def test_a_copy_across_given_splits_is_a_warning_that_names_both(make_classes: Callable[..., Path]) -> None:
    folder = make_classes({"train/a": 4, "train/b": 4, "test/a": 2, "test/b": 2})
    shutil.copy(folder / "test/a/a_000.png", folder / "train/a/leak.png")
    finding = broken(folder)["duplicates_across_splits"]
    assert [item.source for item in finding.failing] == ["test/a/a_000.png", "train/a/leak.png"]
    assert finding.severity == "warning"


def test_a_class_that_cannot_be_decoded_at_all_has_no_images(make_classes: Callable[..., Path]) -> None:
    folder = make_classes({"a": 4, "b": 4, "c": 0})
    for number in range(3):
        (folder / f"c/{number}.jpg").write_text("text")
    found = broken(folder, replace(LIMITS, severity={"decodable": "quarantine"}))
    assert found["images_per_class"].failing[0].value == "class 'c', images: 0"
