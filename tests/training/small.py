"""What the tests of training train: a network with all that matters for freezing, and images that tell their class."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn

from graft.augmentation.policy_config import build_policy, default_policies
from graft.core.settings import Train
from graft.features.cache import ArrayCache
from graft.features.extraction import Extractor
from graft.models.backbone import BackboneParts, Network, Pool
from graft.models.zoo.registry import builder_for
from graft.training.compute.devices import fabric_for
from graft.training.compute.precision import Mode
from graft.training.finetune import FineTuningData, TrainingRun, train_stage
from graft.training.strategies import Stage
from graft.training.trainer import EpochLoss, StageData, Trainer

CLASSES, SIZE, COUNT = 3, 32, 24
LABELS = np.arange(COUNT) % CLASSES
EVERY = np.ones(COUNT, dtype=bool)
SETTINGS = dataclasses.replace(Train(), epochs=2, batch_size=8, learning_rate=0.003, label_smoothing=0.0, unfreeze=0.5)


def tiny() -> Network:
    """Four blocks of convolution and batch normalisation, and dropout in the neck."""
    torch.manual_seed(0)
    channels = (3, 8, 8, 16, 16)
    blocks = tuple(
        nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b), nn.ReLU())
        for a, b in itertools.pairwise(channels)
    )
    return Network(BackboneParts(blocks, nn.Sequential(Pool("NCHW"), nn.Dropout(0.1)), 16, "NCHW"), CLASSES)


def images() -> np.ndarray:
    """Noise with a coloured corner that tells the class, uint8 (24, 32, 32, 3)."""
    made = np.random.default_rng(0).integers(0, 60, (COUNT, SIZE, SIZE, 3)).astype(np.uint8)
    for image, label in zip(made, LABELS, strict=True):
        image[:16, :16, label] = 250
    return made


def task(folder: Path, policy: str | None = None) -> FineTuningData:
    """All images, at a store in ``folder``."""
    preprocessing = builder_for("resnet18").preprocessing("resnet18", SIZE)
    extractor = Extractor(images(), "small", preprocessing, ArrayCache(folder), torch.device("cpu"))
    names = tuple(f"{number:02d}.png" for number in range(COUNT))
    built = build_policy(default_policies(policy), SIZE) if policy else None
    return FineTuningData(extractor, LABELS, EVERY, built, names)


def digest(network: nn.Module) -> str:
    """A hash of all parameters and buffers, bit for bit."""
    values = (value.contiguous().numpy().tobytes() for value in network.state_dict().values())
    return hashlib.sha256(b"".join(values)).hexdigest()


def fit_stage(
    network: Network,
    stage: Stage,
    data: StageData,
    settings: Train = SETTINGS,
    after_step: Callable[[Any], None] | None = None,
    mode: Mode | None = None,
) -> tuple[EpochLoss, ...]:
    """Train one stage on the CPU; ``after_step`` is given what is trained after every step."""

    def descend(self: Trainer, run: Any, loss: Any, real: Callable[..., None] = Trainer._descend) -> None:
        real(self, run, loss)
        if after_step is not None:
            after_step(run)

    with mock.patch.object(Trainer, "_descend", descend):
        return train_stage(network, stage, data, TrainingRun(settings, 0, fabric_for("cpu"), mode=mode))
