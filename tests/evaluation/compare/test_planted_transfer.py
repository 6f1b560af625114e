"""Transfer that really helps, does nothing, or hurts: networks trained on planted tasks, and the verdict on each."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from graft.core.settings import Pretrain, Train
from graft.evaluation.compare.transfer import compare_with_control
from graft.features.cache import ArrayCache
from graft.features.extraction import Extractor
from graft.models.backbone import BackboneParts, Network, Pool
from graft.models.preprocessing import Geometry, Preprocessing
from graft.pretraining.pretrain import LabelledImages, pretrain, probabilities
from graft.stats.bootstrap import Resampling
from graft.training.compute.devices import fabric_for
from graft.training.finetune import FineTuningData, TrainingRun, finetune
from graft.training.strategies import STRATEGIES

CLASSES, SIDE = 4, 16
PREPROCESSING = Preprocessing(Geometry(SIDE, 1.0, "bilinear"), (0.5,) * 3, (0.5,) * 3)
SETTINGS = dataclasses.replace(Train(), epochs=12, batch_size=16, unfreeze=0.3, learning_rate=0.01)


def task(count: int, seed: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Stripes in noise: the class is their direction, of which the source knows four and the target four between."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    angle = (labels + first / 2) * np.pi / CLASSES
    rows, columns = np.mgrid[:SIDE, :SIDE]
    along = columns * np.cos(angle)[:, None, None] + rows * np.sin(angle)[:, None, None]
    waves = np.sin(along * 2 * np.pi / 5 + random.uniform(0, 2 * np.pi, (count, 1, 1)))
    grey = np.clip(128 + 35 * waves + random.normal(0, 70, waves.shape), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=3), labels.astype(np.int64)


def small() -> Network:
    """Three blocks of convolution, batch normalisation and ReLU."""
    blocks = tuple(
        nn.Sequential(nn.Conv2d(a, b, 3, stride=s, padding=1), nn.BatchNorm2d(b), nn.ReLU())
        for (a, b), s in zip(itertools.pairwise((3, 16, 32, 32)), (1, 2, 1), strict=True)
    )
    return Network(BackboneParts(blocks, Pool("NCHW"), 32, "NCHW"), CLASSES)


def source(kind: str) -> Network:
    """Helping weights know stripes; random ones nothing; harmful ones are blind."""
    torch.manual_seed(0)
    network = small()
    if kind == "helping":
        images, labels = task(1_200, 1)
        data = LabelledImages(torch.from_numpy(images), torch.from_numpy(labels))
        pretrain(
            network, PREPROCESSING, data, Pretrain(epochs=6, batch_size=32, learning_rate=0.01), 0, fabric_for("cpu")
        )
    if kind == "harmful":
        with torch.no_grad():
            # What the first, frozen block says of all images is the same.
            network.blocks[0][0].weight.zero_()
    return network


@pytest.mark.parametrize(("kind", "per_class", "verdict"), [("helping", 3, "helps"), ("harmful", 40, "hurts")])
def test_verdict_on_trained_networks(kind: str, per_class: int, verdict: str, tmp_path: Path) -> None:
    assert verdict_on(source(kind), "finetune", per_class, SETTINGS, tmp_path) == verdict


def test_random_weights_decide_nothing(tmp_path: Path) -> None:
    """All of a random network trained at the control's rates is the control with other dice."""
    assert verdict_on(source("random"), "scratch", 40, SETTINGS, tmp_path) == "undecided"


def verdict_on(network: Network, strategy: str, per_class: int, settings: Train, folder: Path) -> str:
    images, labels = task(per_class * CLASSES, 2, first=1)
    rows = np.ones(len(labels), dtype=bool)
    extractor = Extractor(images, "planted", PREPROCESSING, ArrayCache(folder), torch.device("cpu"))
    torch.manual_seed(7)
    sides = ((network, strategy), (small(), "scratch"))
    unseen, truth = task(400, 3, first=1)
    data = LabelledImages(torch.from_numpy(unseen), torch.from_numpy(truth))
    said = []
    for number, (start, name) in enumerate(sides):
        plan = STRATEGIES[name].plan(len(start.blocks), settings)
        trained = finetune(
            start, plan, FineTuningData(extractor, labels, rows), TrainingRun(settings, number, fabric_for("cpu"))
        ).network
        said.append(probabilities(trained, PREPROCESSING, data))
    found = compare_with_control(truth.astype(np.intp), *said, Resampling(np.arange(400), 500, 0))
    return found.verdict
