"""How an image of any proportions becomes a square: what is kept, what it costs, and what a stored card means."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from graft.modalities.image.conversion import Fit
from graft.modalities.image.preprocessing import PADDING, Geometry, ImagePreprocessor
from tests.conftest import picture

RED, BLUE = (255, 0, 0), (0, 0, 255)


def strip(width: int = 300, height: int = 100) -> Image.Image:
    """Blue, its first fifth red."""
    image = Image.new("RGB", (width, height), BLUE)
    image.paste(RED, (0, 0, width // 5, height))
    return image


@pytest.mark.parametrize("size,crop,interpolation", [(64, 0.875, "bicubic"), (48, 1.0, "bilinear")])
@pytest.mark.parametrize("shape", [(160, 120), (120, 160), (37, 53), (64, 64), (300, 100)])
def test_crop_is_the_centre_of_the_resized_image(
    size: int, crop: float, interpolation: str, shape: tuple[int, int]
) -> None:
    image = picture(1, shape)
    short = round(size / crop)
    scale = short / min(shape)
    whole = image.resize(
        tuple(max(short, round(side * scale)) for side in shape), Image.Resampling[interpolation.upper()]
    )
    left, top = (whole.width - size) // 2, (whole.height - size) // 2
    expected = np.asarray(whole.crop((left, top, left + size, top + size)), np.int16)
    found = Geometry(size, crop, interpolation).apply(image)  # type: ignore[arg-type]
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("fit,red", [("crop", 0.0), ("pad", 0.2), ("squash", 0.2)])
def test_what_stands_at_one_end_is_kept_by_pad_and_squash(fit: Fit, red: float) -> None:
    found = Geometry(60, 0.875, "bilinear", fit).apply(strip())
    assert found.shape == (60, 60, 3)
    middle = found[30, :, 0] > 128  # a row of the square
    assert middle.mean() == pytest.approx(red, abs=0.02)


def test_pad_keeps_the_proportions_and_fills_evenly_on_both_sides() -> None:
    geometry = Geometry(60, 1.0, "bilinear", "pad")
    wide, tall = geometry.apply(strip()), geometry.apply(strip().transpose(Image.Transpose.ROTATE_90))
    padding = (wide == PADDING).all(axis=2)
    assert padding[:20].all() and padding[40:].all() and not padding[20:40].any()
    assert ((tall == PADDING).all(axis=2) == padding.T).all()
    assert (geometry.apply(Image.new("RGB", (7, 7), RED)) == RED).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_enlarged_is_the_same_view_with_more_pixels(fit: Fit) -> None:
    geometry, image = Geometry(32, 0.8, "bilinear", fit), Image.radial_gradient("L").resize((200, 100)).convert("RGB")
    large = geometry.enlarged(1.5).apply(image)
    assert large.shape == (48, 48, 3)
    small = np.asarray(Image.fromarray(large).resize((32, 32), Image.Resampling.BILINEAR), np.int16)
    assert np.abs(small - geometry.apply(image)).mean() < 1.5


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_memory_follows_from_the_output_and_not_from_the_proportions(fit: Fit) -> None:
    code = f"""
import resource
from PIL import Image
from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor
image = Image.new("RGB", (20_000, 200))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert Geometry(1024, 0.875, "bicubic", {fit!r}).apply(image).shape == (1024, 1024, 3)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    megabytes = float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
    assert megabytes < 100  # the whole image at 1,170 px a side took 550


def test_plain_features_are_means_of_squares() -> None:
    preprocessor = ImagePreprocessor(Geometry(32, 1.0, "bilinear"), (0.5,) * 3, (0.5,) * 3)
    rows = preprocessor.loader.random_rows(3)
    found = preprocessor.plain_features(rows).reshape(3, 3, 16, 16)
    expected = rows.reshape(3, 16, 2, 16, 2, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
