"""Planted results, and a small real task: coloured pictures of three classes that any network can tell apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from graft.core.config import parse_params
from graft.core.files import sha256
from graft.core.settings import Candidate, Params
from graft.features.cache import ArrayCache
from graft.features.image_cache import ImageSet
from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor
from graft.models.flops import Cost
from graft.selection.candidates import CandidateResult
from graft.selection.cost.measure import Measured, Timing
from graft.selection.inputs import TrainSet
from graft.selection.probes.probe import ProbeResult
from graft.training.auto_strategy import StrategyChoice

PREPROCESSING = ImagePreprocessor(Geometry(32, 1.0, "bilinear"), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
SMALL = {"arch": "shufflenet_v2_x0_5", "weights": "none", "size": 32}
FOLDS, PER_FOLD = 2, 4


def planted(
    arch: str, probe: float, gmacs: float, tuned: tuple[float, ...] = (), latency: float = 1.0, **more: Any
) -> CandidateResult:
    """A result with figures of one's choice; its network would have three blocks, cut after the last."""
    scores = ProbeResult(2, (probe - 0.02, probe, probe + 0.02), (0.2, 0.4, probe))
    timing = Timing(latency, 0.9 * latency, 1.2 * latency)
    measured = Measured(timing, Timing(1000 / latency, 900 / latency, 1100 / latency), 10.0)
    trained = {"trained": {"finetune": tuned}, "delivers": StrategyChoice("finetune", "auto", "planted")}
    known = {**(trained if tuned else {}), "measured": measured, **more}
    return CandidateResult(Candidate(arch, "none"), PREPROCESSING, 3, scores, Cost(1.0, gmacs), **known)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> TrainSet:
    """24 pictures in 2 folds: red, green and blue ones with noise."""
    root = tmp_path_factory.mktemp("task")
    random = np.random.default_rng(0)
    count = 3 * FOLDS * PER_FOLD
    labels, folds = np.arange(count) % 3, np.arange(count) // 3 % FOLDS
    for number, label in enumerate(labels):
        pixels = random.integers(0, 120, (32, 32, 3))
        pixels[..., label] += 120
        Image.fromarray(pixels.astype(np.uint8)).save(root / f"{number:02d}.png")
    paths = tuple(f"{number:02d}.png" for number in range(count))
    images = ImageSet(root, paths, tuple(sha256(root / path) for path in paths))
    return TrainSet(images, labels, folds, ("red", "green", "blue"))


@pytest.fixture
def store(tmp_path: Path) -> ArrayCache:
    return ArrayCache(tmp_path / "cache")


@pytest.fixture
def asked() -> Callable[..., Params]:
    """Settings for the small task: candidates, and keys of ``select``; one epoch, without augmentation."""

    def make(*candidates: dict[str, Any], **select: Any) -> Params:
        values = {
            "zoo": {"candidates": list(candidates)},
            "select": {"folds": FOLDS, "finalists": 1, **select},
            "augment": {"policy": "none"},
            "train": {"epochs": 1},
        }
        return parse_params(values, "test")

    return make
