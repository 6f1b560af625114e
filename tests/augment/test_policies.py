"""Policies: every registered one works, each sample under its own seed, and a sheet shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from graft.augment.policies import POLICIES, augment_batch, build_policy
from graft.augment.preview import preview_sheet
from graft.errors import ConfigError
from tests.conftest import picture


def batch(count: int = 5, size: int = 24) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.asarray(picture(number, (size, size))) for number in range(count)]))


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_keeps_shape_and_type_and_varies_unless_it_is_none(name: str) -> None:
    images = batch()
    varied = augment_batch(build_policy(name, 24), images, range(5))
    assert (varied.shape, varied.dtype) == (images.shape, torch.uint8)
    assert torch.equal(varied, images) == (name == "none")
    assert torch.equal(images, batch())


@pytest.mark.parametrize("name", POLICIES)
def test_a_sample_depends_on_its_pixels_and_seed_alone(name: str) -> None:
    policy, images, seeds = build_policy(name, 24), batch(), [3, 1, 4, 1, 5]
    whole = augment_batch(policy, images, seeds)
    alone = torch.cat([augment_batch(policy, images[i : i + 1], seeds[i : i + 1]) for i in range(5)])
    backwards = augment_batch(policy, images.flip(0), seeds[::-1]).flip(0)
    assert torch.equal(whole, alone)
    assert torch.equal(whole, backwards)


def test_the_global_generator_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    augment_batch(build_policy("standard", 24), batch(), range(5))
    assert torch.equal(torch.rand(3), expected)


def test_unlike_seeds_give_unlike_variants() -> None:
    same = batch(1).repeat(8, 1, 1, 1)
    varied = augment_batch(build_policy("digits", 24), same, range(8))
    assert len({image.numpy().tobytes() for image in varied}) == 8


def test_digits_are_never_mirrored() -> None:
    # A bar on the left stays on the left whatever is drawn; `light` mirrors it in about half of the cases.
    bar = torch.zeros(1, 24, 24, 3, dtype=torch.uint8)
    bar[:, 6:18, 4:8] = 255
    many = bar.repeat(64, 1, 1, 1)
    for name, mirrored in (("digits", False), ("light", True)):
        varied = augment_batch(build_policy(name, 24), many, range(64)).float()
        left = varied[:, :, :12].sum(dim=(1, 2, 3)) > varied[:, :, 12:].sum(dim=(1, 2, 3))
        assert bool((~left).any()) == mirrored


def test_an_unknown_policy_names_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        build_policy("standart", 24)
    assert caught.value.message() == (
        "there is no augmentation policy 'standart'\n  where: augment.policy\n  remedy: did you mean 'standard'?"
    )


def test_seeds_must_match_images() -> None:
    with pytest.raises(ValueError, match="5 images need as many seeds, not 2"):
        augment_batch(build_policy("light", 24), batch(), [1, 2])
    assert len(augment_batch(build_policy("light", 24), batch()[:0], [])) == 0


def test_the_sheet_is_a_picture_and_the_same_every_time(tmp_path: Path) -> None:
    images = [image.numpy() for image in batch(3)]
    for name in ("a.png", "b.png"):
        preview_sheet(tmp_path / name, "title", build_policy("light", 24), images, ["cat", "dog", "a" * 40], seed=0)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.size == (132 + 7 * 136, 64 + 3 * 136)
