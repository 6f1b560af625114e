"""The sheet: originals and variants, the same every time, and for batch policies the shares of the labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.augmentation.policies import POLICIES
from graft.augmentation.policy_config import build_policy, default_policies
from graft.reporting.figures.augmentation_preview import _caption, preview_sheet
from tests.conftest import picture


def images(count: int) -> list[np.ndarray]:
    return [np.asarray(picture(number, (24, 24))).copy() for number in range(count)]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", [*POLICIES, "geometric+mixup"])
def test_the_sheet_is_a_picture_and_the_same_every_time(name: str, count: int, tmp_path: Path) -> None:
    policy = build_policy(default_policies(*name.split("+")), 24)
    for file in ("a.png", "b.png"):
        preview_sheet(
            tmp_path / file, "title", policy, {"original": images(count)}, ["cat", "dog", "a" * 40][:count], seed=0
        )
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as sheet:
        width, height = sheet.size
        assert width == 132 + 7 * 136
        if policy.mixing is None:
            assert height == 64 + count * 136
        else:
            assert height > 64 + count * 136, "there is no room for captions"


def test_originals_stand_first_and_unchanged(tmp_path: Path) -> None:
    shown = images(2)
    preview_sheet(
        tmp_path / "s.png",
        "t",
        build_policy(default_policies("cutmix"), 24),
        {"original": shown},
        ["cat", "dog"],
        seed=0,
    )
    with Image.open(tmp_path / "s.png") as sheet:
        cell = np.asarray(sheet)[64 : 64 + 128, 132 : 132 + 128]
    expected = np.asarray(Image.fromarray(shown[0]).resize((128, 128), Image.Resampling.NEAREST))
    np.testing.assert_array_equal(cell, expected)


def test_a_caption_names_the_row_s_own_class_first() -> None:
    assert _caption({"ant": 0.28, "bee": 0.72, "fly": 0.0}, "bee") == ("bee: 72%", "ant: 28%")
    assert _caption({"ant": 1.0, "bee": 0.0, "fly": 0.0}, "bee") == ("bee: 0%", "ant: 100%")
    assert _caption({"ant": 1.0}, "ant") == ("ant: 100%",)


def test_a_long_title_is_wrapped(tmp_path: Path) -> None:
    policy = build_policy(default_policies("none"), 24)
    preview_sheet(tmp_path / "s.png", "word " * 60, policy, {"original": images(1)}, ["cat"], seed=0)
    with Image.open(tmp_path / "s.png") as sheet:
        assert sheet.size[1] > 64 + 136 + 20
