"""Statistics of one image against numpy, scipy and imagehash."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from graft.data.manifest import describe_file
from graft.modalities.image.modality import ImageModality
from graft.modalities.image.stats import Tones, perceptual_hash, sharpness
from tests.conftest import picture


def stats_of(path: Path) -> SimpleNamespace:
    return SimpleNamespace(**describe_file(path, ImageModality()))


def save(path: Path, image: Image.Image) -> Path:
    image.save(path)
    return path


def test_stats_of_a_plain_image(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", Image.new("L", (40, 30), 51))
    found = stats_of(path)
    assert (found.width, found.height, found.mode, found.format, found.frames) == (40, 30, "L", "PNG", 1)
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.bytes == path.stat().st_size
    assert found.brightness == pytest.approx(0.2)
    assert (found.contrast, found.sharpness) == (0.0, 0.0)


def test_the_same_pixels_in_another_format_have_the_same_pixel_hash(tmp_path: Path) -> None:
    image = picture(1)
    png, bmp = stats_of(save(tmp_path / "a.png", image)), stats_of(save(tmp_path / "a.bmp", image))
    assert png.sha256 != bmp.sha256
    assert png.pixel_sha256 == bmp.pixel_sha256
    # The size counts: 2 x 8 black pixels are not 4 x 4 of them.
    shapes = [stats_of(save(tmp_path / f"{w}.png", Image.new("RGB", (w, 16 // w)))).pixel_sha256 for w in (2, 4)]
    assert shapes[0] != shapes[1]


@pytest.mark.parametrize(
    ("size", "flat", "known"), [((31, 64), False, False), ((32, 32), False, True), ((64, 64), True, False)]
)
def test_a_perceptual_hash_is_given_only_where_it_means_something(
    tmp_path: Path, size: tuple[int, int], flat: bool, known: bool
) -> None:
    image = Image.new("RGB", size, "grey") if flat else picture(1, size)
    phash = stats_of(save(tmp_path / "a.png", image)).phash
    assert (phash is not None and len(phash) == 64) == known


def test_blur_lowers_sharpness_and_the_figure_is_the_laplacians_deviation() -> None:
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 256, (32, 32), dtype=np.uint8)
    blurred = np.asarray(Image.fromarray(sharp).resize((8, 8)).resize((32, 32)))
    from scipy.ndimage import laplace

    assert sharpness(sharp) == pytest.approx(laplace(sharp.astype(float))[1:-1, 1:-1].std(), rel=1e-12)
    assert sharpness(blurred) < sharpness(sharp) / 4
    assert sharpness(sharp[:2]) == 0


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.integers(1, 256))
def test_tones_are_what_numpy_and_scipy_say(seed: int, width: int, height: int, levels: int) -> None:
    from scipy.stats import entropy

    grey = np.random.default_rng(seed).integers(0, levels, (height, width), dtype=np.uint8)
    tones = Tones.of(Image.fromarray(grey).histogram())
    assert tones.brightness == pytest.approx(grey.mean() / 255, rel=1e-12)
    assert tones.contrast == pytest.approx(grey.astype(float).std() / 255, rel=1e-9, abs=1e-12)
    assert tones.entropy == pytest.approx(entropy(np.unique(grey, return_counts=True)[1], base=2), abs=1e-12)


def test_entropy_goes_from_one_level_to_all_alike_often(tmp_path: Path) -> None:
    flat = Image.new("L", (40, 40), 7)
    every = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(2, axis=0))
    halves = Image.fromarray(np.repeat(np.array([[0, 200]], dtype=np.uint8), 10, axis=0))
    images = {"flat": flat, "every": every, "halves": halves}
    found = [stats_of(save(tmp_path / f"{name}.png", image)).entropy for name, image in images.items()]
    assert found == pytest.approx([0, 8, 1], abs=1e-12)


@pytest.mark.parametrize("size", [(32, 32), (33, 71), (64, 64), (224, 224), (500, 333), (1000, 37)])
def test_the_perceptual_hash_is_imagehashs_but_for_a_few_bits_of_rounding(size: tuple[int, int]) -> None:
    import imagehash

    apart = []
    for seed in range(8):
        coarse = np.asarray(picture(seed, size).convert("L"), dtype=float)
        # With grain, as photographs have it: in what is quite smooth, rounding decides half of imagehash's bits.
        grain = np.random.default_rng(seed).normal(0, 25, coarse.shape)
        grey = Image.fromarray((coarse + grain).clip(0, 255).astype(np.uint8))
        ours = perceptual_hash(np.asarray(grey), 0.2)
        assert ours is not None
        bits = np.unpackbits(np.frombuffer(ours, dtype=np.uint8)).reshape(16, 16).astype(bool)
        apart.append(int((bits != imagehash.phash(grey, hash_size=16).hash).sum()))
    # Waves nearly as strong as the median; unlike pictures are about 128 bits apart.
    assert max(apart) <= 12
    assert np.mean(apart) <= 6


def test_waves_that_are_not_in_the_picture_set_no_bit() -> None:
    stripes = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (80, 1))
    hashed = perceptual_hash(stripes, 0.2)
    assert hashed is not None
    # Nothing changes from top to bottom: all but the first row of waves is nought, whatever rounding leaves there.
    assert not any(hashed[2:])
    assert hashed == perceptual_hash(stripes[:40], 0.2)
