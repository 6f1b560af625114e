"""Large JPEGs at a fraction of their size: enough pixels, upright, the true size known, and the same at every door."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from graft.core.errors import DataError
from graft.evaluation.inference import answers_of
from graft.features.cache import ArrayCache
from graft.features.image_cache import ImageSet, decoded
from graft.inference.artifact import Artifact
from graft.inference.predictor import Predictor
from graft.modalities.image.decode import MARGIN, decode, decode_for, decode_fully
from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor
from tests.conftest import picture
from tests.modalities.image.faults import SUFFIX, encoded, with_orientation

LARGE = (800, 600)
CLASSES = ("a", "b", "c")


class Means(nn.Module):
    """Logits are the three channels' means."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


@pytest.fixture(scope="module")
def large() -> bytes:
    noise = np.random.default_rng(0).normal(0, 20, (*reversed(LARGE), 3))
    return encoded(Image.fromarray((np.asarray(picture(1, LARGE)) + noise).clip(0, 255).astype(np.uint8)), "JPEG")


@given(width=st.integers(2, 200), height=st.integers(2, 200), side=st.integers(1, 120))
def test_at_least_twice_the_side_is_left_and_less_than_four_times(width: int, height: int, side: int) -> None:
    image = decode(encoded(Image.new("L", (width, height)), "JPEG"), least_side=side)
    short, whole = min(image.size), min(width, height)
    step = next(step for step in (1, 2, 4, 8) if image.size == (-(-width // step), -(-height // step)))
    assert step == 1 or short >= MARGIN * side
    # No more is kept than must be: half of it would be too little.
    assert step == 8 or whole / (2 * step) < MARGIN * side


@pytest.mark.parametrize("kind", sorted(SUFFIX))
def test_only_jpegs_are_reduced(kind: str) -> None:
    assert decode(encoded(picture(1, (160, 120)), kind), least_side=7).size == (
        (20, 15) if kind == "JPEG" else (160, 120)
    )


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_reduced_image_shows_the_same(mode: str, progressive: bool) -> None:
    data = encoded(picture(1, LARGE).convert(mode), "JPEG", progressive=progressive)
    reduced = decode(data, least_side=70)
    assert reduced.size == (200, 150)
    whole = decode(data).resize(reduced.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(reduced, np.int16) - np.asarray(whole)).mean() < 1.5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_image_is_upright_and_its_true_size_is_known(orientation: int) -> None:
    upright = Image.new("RGB", (330, 160))
    upright.paste("white", (0, 0, 80, 80))
    data = with_orientation(upright, "JPEG", orientation)
    found = decode_fully(data, least_side=20)
    assert (found.image.size, found.width, found.height) == ((83, 40), 330, 160)
    corners = [found.image.getpixel(place)[0] > 128 for place in ((3, 3), (79, 3), (3, 36), (79, 36))]
    assert corners == [True, False, False, False]


def test_a_photograph_with_a_second_picture_is_reduced_too() -> None:
    data = encoded(picture(1, LARGE), "MPO", save_all=True, append_images=[picture(2, (64, 48))])
    found = decode_fully(data, least_side=70)
    assert (found.image.size, found.width, found.height, found.format, found.frames) == ((200, 150), *LARGE, "JPEG", 1)


@pytest.mark.parametrize("cut", [1, 2, 1000])
def test_reducing_reads_to_the_end_and_finds_what_is_missing(large: bytes, cut: int) -> None:
    with pytest.raises(DataError, match="the image is damaged: its end is missing"):
        decode(large[:-cut], least_side=70)
    assert decode(large + b"what cameras append", least_side=70).size == (200, 150)


def test_several_sides_give_what_each_gives_alone_and_share_decoding(
    large: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = [10, 30, 70, 75, 400, 500]
    together = decode_for(large, sides)
    assert {side: image.tobytes() for side, image in together.items()} == {
        side: decode(large, least_side=side).tobytes() for side in sides
    }
    assert len({id(image) for image in together.values()}) == 3  # 1/8 for 10 and 30, 1/4 for 70 and 75, whole
    assert decode_for(large, []) == {}


def _predictor(geometry: Geometry) -> Predictor:
    preprocessing = ImagePreprocessor(geometry, (0.5,) * 3, (0.5,) * 3)
    return Predictor(Artifact(CLASSES, "means", "none", None, preprocessing), Means())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["photo.jpg", "turned.jpg", "small.jpg", "photo.png"])
def test_one_file_gives_the_same_pixels_and_probabilities_at_all_doors(name: str, large: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    image = decode(large)
    path.write_bytes(
        {
            "photo.jpg": large,
            "turned.jpg": with_orientation(image, "JPEG", 6),
            "small.jpg": encoded(picture(2), "JPEG"),
            "photo.png": encoded(image, "PNG"),
        }[name]
    )
    geometries = (Geometry(32, 0.875, "bicubic"), Geometry(64, 1.0, "bilinear"), Geometry(200, 1.0, "bilinear"))
    models = {str(geometry.size): _predictor(geometry) for geometry in geometries}
    evaluated = answers_of(models, [path], CLASSES)
    for geometry in geometries:
        model = models[str(geometry.size)]
        trained = decoded(ImageSet(tmp_path, (name,), (name,)), geometry, ArrayCache(tmp_path / "cache"))
        served = model.preprocess(path.read_bytes())
        assert np.array_equal(trained[0], served)
        assert np.array_equal(model.predict_batch([served]).outputs, model.predict([path]))
        assert np.array_equal(evaluated[str(geometry.size)].outputs, model.predict([path]))
