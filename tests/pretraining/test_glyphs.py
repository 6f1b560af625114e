"""The rendered source task: every class in every font, varied, seeded, and learnable."""

from __future__ import annotations

import numpy as np
import torch

from graft.core.settings import Pretrain
from graft.modalities.image.preprocessing import ImagePreprocessor
from graft.models.backbone import Network
from graft.models.zoo.registry import build_network, builder_for
from graft.pretraining.glyphs import CANVAS, LEVELS, fonts, glyphs, render
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
