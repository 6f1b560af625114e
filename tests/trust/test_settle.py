"""Settling a real network on planted images: what is fitted on what, a planted shift, nothing held out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from graft.settings import Trust as Settings
from graft.trust.novelty import Reference, features_of, normalised
from graft.trust.settle import NOT_SETTLED, Shown, settle
from graft.trust.temperature import fit_temperature
from graft.trust.units import units_of
from graft.zoo.network import Network, build_network
from graft.zoo.preprocessing import Geometry, Preprocessing

PREPROCESSING = Preprocessing(Geometry(32, 1.0, "bilinear"), (0.5,) * 3, (0.5,) * 3)
SETTINGS = Settings(reference_images=60)


@dataclass(frozen=True)
class Said:
    """What the train room hands out."""

    rows: np.ndarray
    logits: np.ndarray
    features: np.ndarray
    shown: np.ndarray


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
def shown() -> Shown:
    labels = np.arange(120) // 60
    return Shown(stripes(120, 0), labels, np.arange(120), PREPROCESSING)


@pytest.fixture(scope="module")
def said(network: Network, shown: Shown) -> Said:
    rows = np.arange(0, 120, 3)
    rng = np.random.default_rng(1)
    # Four times as sure as it is right: 80% of the answers.
    right = np.where(rng.random(40) < 0.8, shown.labels[rows], 1 - shown.labels[rows])
    features = features_of(network, PREPROCESSING, shown.images)
    others = np.setdiff1d(np.arange(120), rows)
    return Said(rows, (6 * np.eye(2)[right]).astype(np.float32), features[rows], features[others])


def test_noise_and_other_images_are_unlike_and_new_ones_of_the_kind_are_not(
    network: Network, shown: Shown, said: Said
) -> None:
    found = settle(network, said, shown, SETTINGS, 0)
    card = found.trust.novelty
    assert found.reference is not None and len(found.reference) == card.images == 60
    assert (card.usual, card.n_fitted, card.k) == (0.95, 40, 1)
    kept = Reference(normalised(found.reference), card)

    def unlike(images: np.ndarray) -> float:
        return float((kept.score(features_of(network, PREPROCESSING, images)) > 1).mean())

    rng = np.random.default_rng(9)
    assert unlike(stripes(200, 5)) < 0.15
    assert unlike(rng.integers(0, 256, (50, 32, 32, 3), dtype=np.uint8)) > 0.9
    assert unlike(255 - stripes(50, 6)) > 0.9


def test_the_temperature_is_fitted_on_the_held_out_images_alone(network: Network, shown: Shown, said: Said) -> None:
    found = settle(network, said, shown, SETTINGS, 0).trust
    assert found.temperature == fit_temperature(said.logits, shown.labels[said.rows], np.arange(40))
    assert found.temperature.value > 1.5
    # Every answer is equally sure and 80% are right, so none reach 95%.
    assert found.threshold.confidence == 0.95 and found.threshold.reason
    others = np.setdiff1d(np.arange(120), said.rows)
    changed = shown.labels.copy()
    changed[others] = 1 - changed[others]
    again = settle(network, said, Shown(shown.images, changed, shown.units, PREPROCESSING), SETTINGS, 0).trust
    assert again.temperature == found.temperature and again.threshold == found.threshold


def test_the_same_again(network: Network, shown: Shown, said: Said) -> None:
    first, second = (settle(network, said, shown, SETTINGS, 0) for _ in range(2))
    assert first.trust == second.trust
    assert first.reference is not None and second.reference is not None
    assert first.reference.tobytes() == second.reference.tobytes()


def test_nothing_held_out_is_said(network: Network, shown: Shown) -> None:
    found = settle(network, None, shown, SETTINGS, 0)
    assert found is NOT_SETTLED and found.trust.temperature.value == 1.0
    assert found.trust.novelty.reason == "the training held out no images"


def test_few_held_out_images_change_nothing(network: Network, shown: Shown, said: Said) -> None:
    few = Said(said.rows[:9], said.logits[:9], said.features[:9], said.shown)
    found = settle(network, few, shown, SETTINGS, 0)
    assert (found.trust.temperature.value, found.trust.threshold.confidence, found.reference) == (1.0, 0.5, None)


def test_groups_are_numbered_and_images_without_one_stand_alone() -> None:
    import pandas as pd

    found = units_of(pd.Series(["b", None, "a", "b", None], dtype=object))
    assert found[0] == found[3] and sorted(found.tolist()) == [0, 0, 1, 2, 3]
