"""Colour: profiles become sRGB by the formulas of the ICC and sRGB standards; broken ones say nothing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageCms

from graft.modalities.image import colour
from graft.modalities.image.decode import decode
from tests.conftest import picture
from tests.modalities.image import profiles
from tests.modalities.image.faults import encoded, rgb16_png, srgb

LEVELS = np.array([0, 1, 20, 64, 128, 200, 254, 255])


def to_srgb_levels(linear: np.ndarray) -> np.ndarray:
    """Linear sRGB light, 0 to 1 -> levels of 255 (IEC 61966-2-1)."""
    light = np.clip(linear, 0, 1)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1 / 2.4) - 0.055)


def from_xyz(xyz: np.ndarray) -> np.ndarray:
    """XYZ adapted to D50 -> levels of sRGB."""
    return to_srgb_levels(xyz @ np.linalg.inv(np.array(profiles.SRGB_PRIMARIES)))


def from_lab(lightness: float, a: float, b: float) -> np.ndarray:
    """CIE Lab at D50 -> levels of sRGB."""
    middle = (lightness + 16) / 116
    roots = np.array([middle + a / 500, middle, middle - b / 200])
    return from_xyz(np.where(roots > 6 / 29, roots**3, 3 * (6 / 29) ** 2 * (roots - 4 / 29)) * np.array(profiles.D50))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_colours_of_a_wider_space_become_srgb(kind: str) -> None:
    grid = np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS), axis=-1).reshape(-1, 8, 3)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(grid.astype(np.uint8)), kind, icc_profile=profiles.adobe_rgb(), **options)
    expected = from_xyz((grid / 255) ** profiles.ADOBE_GAMMA @ np.array(profiles.ADOBE_PRIMARIES))
    assert np.abs(np.asarray(decode(data)) - expected).max() < 1.6
    assert np.abs(grid - expected).max() > 50  # there is something to do


@pytest.mark.parametrize("gamma", [1.8, 2.6])
def test_grey_levels_of_another_gamma_become_srgb(gamma: float) -> None:
    data = encoded(Image.fromarray(LEVELS[None].astype(np.uint8)), "PNG", icc_profile=profiles.grey(gamma))
    expected = to_srgb_levels((LEVELS / 255) ** gamma)
    found = np.asarray(decode(data))[0]
    assert np.abs(found - expected[:, None]).max() < 1.6


def test_16_bit_grey_is_scaled_before_its_profile_is_applied() -> None:
    grey = Image.fromarray(LEVELS[None].astype(np.uint16) * 257)
    expected = to_srgb_levels((LEVELS / 255) ** 1.8)
    found = np.asarray(decode(encoded(grey, "TIFF", icc_profile=profiles.grey(1.8))))[0]
    assert np.abs(found - expected[:, None]).max() < 1.6


def test_grey_with_alpha_takes_its_profile_and_is_flattened_on_white() -> None:
    levels = np.stack([np.full(3, 64), [0, 128, 255]], axis=-1).astype(np.uint8)[None]
    data = encoded(Image.fromarray(levels, "LA"), "PNG", icc_profile=profiles.grey(1.0))
    shown = to_srgb_levels(np.array([64 / 255]))[0]
    expected = [255, 255 * 127 / 255 + shown * 128 / 255, shown]
    assert np.abs(np.asarray(decode(data))[0, :, 0] - expected).max() < 1.6


def test_colour_with_alpha_takes_its_profile_before_it_is_flattened() -> None:
    image = Image.new("RGBA", (2, 1), (200, 40, 40, 255))
    image.putpixel((1, 0), (200, 40, 40, 0))
    found = decode(encoded(image, "PNG", icc_profile=profiles.adobe_rgb()))
    alone = decode(encoded(image.convert("RGB"), "PNG", icc_profile=profiles.adobe_rgb()))
    assert (found.getpixel((0, 0)), found.getpixel((1, 0))) == (alone.getpixel((0, 0)), (255, 255, 255))


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_inks_become_srgb_by_the_profile_of_the_press(kind: str) -> None:
    lab = (60, -30, -30)
    inks = Image.new("CMYK", (48, 16))
    inks.paste((255, 0, 0, 0), (16, 0, 32, 16))
    inks.paste((0, 0, 0, 255), (32, 0, 48, 16))
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    image = decode(encoded(inks, kind, icc_profile=profiles.cmyk(lab), **options))
    found = [image.getpixel((x, 8)) for x in (8, 24, 40)]
    assert np.abs(np.array(found) - [[255] * 3, from_lab(*lab), [0] * 3]).max() < 3
    without = decode(encoded(inks, kind, **options)).getpixel((24, 8))
    assert np.abs(np.array(without) - (0, 255, 255)).max() < 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    "profile",
    [b"no profile", srgb()[:200], srgb()[:128] + bytes(400), profiles.grey(1.0), profiles.cmyk((60, -30, -30))],
    ids=["text", "cut", "hollow", "of_grey", "of_ink"],
)
def test_a_profile_that_is_broken_or_for_other_colours_is_passed_over(kind: str, profile: bytes) -> None:
    with_it = decode(encoded(picture(4), kind, icc_profile=profile))
    assert with_it.tobytes() == decode(encoded(picture(4), kind)).tobytes()


def test_a_profile_too_large_to_be_one_is_passed_over() -> None:
    large = profiles.adobe_rgb() + bytes(colour.MAX_PROFILE_BYTES)
    data = encoded(picture(4), "TIFF", icc_profile=large)
    assert np.array_equal(np.asarray(decode(data)), np.asarray(picture(4)))


def test_an_srgb_profile_changes_nothing_and_is_not_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(picture(4), "PNG", icc_profile=srgb())
    decode(data)  # once, to find out that it is sRGB

    def fail(*_: object) -> None:
        raise AssertionError("the profile was applied, or looked at again")

    monkeypatch.setattr(ImageCms.ImageCmsTransform, "apply", fail)
    monkeypatch.setattr(ImageCms.ImageCmsTransform, "__init__", fail)
    assert np.array_equal(np.asarray(decode(data)), np.asarray(picture(4)))


def test_the_high_byte_of_16_bit_colour_is_kept() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    assert np.array_equal(np.asarray(decode(rgb16_png(values))), values >> 8)


@pytest.mark.parametrize("low", [-1.0, float("nan"), float("inf")])
def test_numbers_that_are_no_grey_levels_are_refused(low: float) -> None:
    from graft.core.errors import DataError

    values = np.array([[0.5, low]], dtype=np.float32)
    with pytest.raises(DataError, match=r"holds numbers from .* \(mode F\), and only 0 to 1 can be read"):
        decode(encoded(Image.fromarray(values), "TIFF"))
