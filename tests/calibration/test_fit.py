"""Fitting a real network's trust on planted images: what is fitted on what, a planted shift, small classes, groups."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from graft.calibration.fit import OutOfFoldLogits, SeenFeatures, fit_calibration
from graft.calibration.novelty import ReferenceFeatures, features_of, normalised
from graft.calibration.temperature import fit_temperature
from graft.core.settings import Trust as Settings
from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor
from graft.models.backbone import Network
from graft.models.zoo.registry import build_network
from graft.stats.groups import units_of

PREPROCESSING = ImagePreprocessor(Geometry(32, 1.0, "bilinear"), (0.5,) * 3, (0.5,) * 3)
SETTINGS = Settings()


def stripes(count: int, seed: int) -> np.ndarray:
    """Dark images with a light bar that lies, or stands, somewhere; lying ones first."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 40, (count, 32, 32, 3), dtype=np.uint8)
    for place, image in enumerate(images):
        at = int(rng.integers(2, 24))
        view = image if place < count // 2 else image.transpose(1, 0, 2)
        view[at : at + 5] = 220
    return images


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return build_network("resnet18", 2, depth=2).eval()


@pytest.fixture(scope="module")
def seen(network: Network) -> SeenFeatures:
    return SeenFeatures(features_of(network, PREPROCESSING, stripes(120, 0)), np.arange(120))


@pytest.fixture(scope="module")
def unseen() -> OutOfFoldLogits:
    labels, rng = np.arange(120) // 60, np.random.default_rng(1)
    # Four times as sure as it is right: 80% of the answers.
    right = np.where(rng.random(120) < 0.8, labels, 1 - labels)
    return OutOfFoldLogits((6 * np.eye(2)[right]).astype(np.float32), labels, np.arange(120))


def test_noise_and_other_images_are_unlike_and_new_ones_of_the_kind_are_not(
    network: Network, unseen: OutOfFoldLogits, seen: SeenFeatures
) -> None:
    found = fit_calibration(unseen, seen, SETTINGS)
    card = found.trust.novelty
    assert found.reference is seen.features
    assert (card.usual, card.n_fitted, card.images, card.k) == (0.95, 120, 120, 1)
    kept = ReferenceFeatures(normalised(found.reference), card)

    def unlike(images: np.ndarray) -> float:
        return float((kept.score(features_of(network, PREPROCESSING, images)) > 1).mean())

    rng = np.random.default_rng(9)
    assert unlike(stripes(200, 5)) < 0.15
    assert unlike(rng.integers(0, 256, (50, 32, 32, 3), dtype=np.uint8)) > 0.9
    assert unlike(255 - stripes(50, 6)) > 0.9


def test_novelty_is_of_the_network_that_is_delivered(unseen: OutOfFoldLogits, seen: SeenFeatures) -> None:
    """Features of another scale and place, such as fold networks have, would give a threshold that fits nothing."""
    moved = dataclasses.replace(seen, features=seen.features + 5 * seen.features.std())
    first, second = (fit_calibration(unseen, item, SETTINGS).trust for item in (seen, moved))
    assert first.novelty.distance is not None and second.novelty.distance is not None
    assert second.novelty.distance < 0.8 * first.novelty.distance
    assert (first.temperature, first.threshold) == (second.temperature, second.threshold)


def test_temperature_and_threshold_are_fitted_on_all_out_of_fold_logits(
    unseen: OutOfFoldLogits, seen: SeenFeatures
) -> None:
    found = fit_calibration(unseen, seen, SETTINGS).trust
    assert found.temperature == fit_temperature(unseen.logits, unseen.labels, np.arange(120))
    assert found.temperature.value > 1.5 and found.temperature.n_fitted == found.threshold.n_fitted == 120
    # Every answer is equally sure and 80% are right, so none reach 95%.
    assert (found.threshold.confidence, found.threshold.n_answered, found.threshold.accuracy_bound) == (0.95, 0, None)
    assert found.threshold.reason == (
        "120 held-out images prove for no confidence that 95.0% of the answers are right, so confidence must say that"
    )


def test_a_class_of_one_image_switches_nothing_off(unseen: OutOfFoldLogits, seen: SeenFeatures) -> None:
    labels = unseen.labels.copy()
    labels[0] = 2
    logits = np.concatenate([unseen.logits, np.zeros((120, 1), dtype=np.float32)], axis=1)
    found = fit_calibration(OutOfFoldLogits(logits, labels, unseen.groups), seen, SETTINGS).trust
    assert found.temperature.value > 1.5 and found.threshold.n_fitted == 120 and found.novelty.distance is not None


def test_few_images_change_nothing(unseen: OutOfFoldLogits, seen: SeenFeatures) -> None:
    few = OutOfFoldLogits(unseen.logits[:9], unseen.labels[:9], unseen.groups[:9])
    found = fit_calibration(few, SeenFeatures(seen.features[:9], seen.groups[:9]), SETTINGS)
    assert (found.trust.temperature.value, found.trust.threshold.confidence, found.reference) == (1.0, 0.95, None)


def test_groups_are_numbered_and_images_without_one_stand_alone() -> None:
    import pandas as pd

    found = units_of(pd.Series(["b", None, "a", "b", None], dtype=object))
    assert found[0] == found[3] and sorted(found.tolist()) == [0, 0, 1, 2, 3]
