"""The rendered source task: every class in every font, varied, seeded, and learnable."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from graft.core.determinism import torch_generator
from graft.core.settings import Pretrain
from graft.modalities.image.preprocessing import ImagePreprocessor
from graft.models.backbone import Network
from graft.models.zoo.registry import build_network, builder_for
from graft.pretraining.glyphs import CANVAS, LEVELS, PEN, draw_by_pen, enlarge, fonts, glyphs, render
from graft.pretraining.pretrain import LabelledImages, glyph_images, pretrain, probabilities
from graft.pretraining.source_dataset import GLYPH_CLASSES
from graft.training.compute.devices import fabric_for


def test_every_character_is_drawn_in_every_font() -> None:
    sheets = render(fonts())
    assert sheets.shape == (62, len(fonts()), CANVAS, CANVAS)
    assert len(fonts()) >= 20
    ink = sheets.mean(dim=(2, 3))
    assert bool((ink > 0.02).all()) and bool((ink < 0.7).all())
    # A font that lacks a character draws the same box for all it lacks.
    flat = sheets.flatten(2)
    for column in range(len(fonts())):
        assert len(torch.unique(flat[:, column], dim=0)) == 62, fonts()[column].name


def test_same_seed_same_images_and_sets_differ() -> None:
    first, labels = glyphs(3, 0, "train")
    again, _ = glyphs(3, 0, "train")
    other, _ = glyphs(3, 0, "test")
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (186, 8, 8) and first.dtype == np.uint8
    assert np.bincount(labels).tolist() == [3] * 62
    assert set(np.unique(first)) <= {round(level * 255 / LEVELS) for level in range(LEVELS + 1)}


def bar(width: int, height: int) -> Image.Image:
    """An upright bar of light in the middle of a canvas."""
    left, top = (CANVAS - width) // 2, (CANVAS - height) // 2
    image = Image.new("L", (CANVAS, CANVAS))
    image.paste(255, (left, top, left + width, top + height))
    return image


def canvases(images: list[Image.Image]) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.asarray(image) for image in images]))[:, None].float() / 255


@pytest.mark.parametrize("width", [3, 8, 15])
def test_strokes_get_the_width_of_a_pen_whatever_their_font_has(width: int) -> None:
    drawn = draw_by_pen(canvases([bar(width, 60)] * 60), torch_generator(0))
    widths = drawn[:, 0, CANVAS // 2].sum(dim=1).numpy()
    # The ends of a stroke count as its rim too, so that wide ones are taken for narrower than they are.
    assert PEN[0] - 1 <= widths.min() and widths.max() <= PEN[1] + 3
    assert PEN[0] + 1 < widths.mean() < PEN[1] + 1 and widths.std() > 1


def test_characters_are_enlarged_to_one_height_and_stay_inside() -> None:
    shapes = [bar(width, height) for width, height in ((4, 20), (30, 60), (50, 12))]
    ink = enlarge(canvases(shapes), torch_generator(0))[:, 0] > 0.5
    heights = ink.any(dim=2).sum(dim=1)
    assert bool(((heights >= 52) & (heights <= 56)).all())
    # As much of it as there was, but for a rounded edge: none is cut off at a side.
    assert not bool(ink[:, :, [0, -1]].any()) and not bool(ink[:, [0, -1]].any())


def test_glyphs_look_like_scanned_digits() -> None:
    """They fill the height and hold about as much ink, or what is learned from them does not carry over."""
    images, labels = glyphs(20, 0, "train")
    of_digits, scanned = images[labels < 10] / 255, load_digits().images / 16
    assert abs(of_digits.mean() - scanned.mean()) < 0.05
    for row in (0, -1):
        assert (of_digits[:, row].max(axis=1) > 0.2).mean() > 0.9


def accuracy(network: Network, preprocessing: ImagePreprocessor, data: LabelledImages) -> float:
    return float((probabilities(network, preprocessing, data).argmax(1) == data.labels.numpy()).mean())


def test_the_source_task_is_learned() -> None:
    preprocessing = builder_for("resnet18").preprocessing("resnet18", 32)
    images, labels = glyphs(40, 0, "train")
    few = labels < 4
    data = glyph_images(images[few], labels[few], preprocessing)
    torch.manual_seed(0)
    network = build_network("resnet18", len(GLYPH_CLASSES))
    before = accuracy(network, preprocessing, data)
    settings = Pretrain(epochs=8, batch_size=32, images_per_class=40)
    losses = pretrain(network, preprocessing, data, settings, 0, fabric_for("cpu"))
    assert losses[-1] < losses[0]
    assert accuracy(network, preprocessing, data) > max(0.5, before)
