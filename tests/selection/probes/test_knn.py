"""Leave-one-out k-NN against scikit-learn's, with groups, ties, zero vectors and lonely images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import config_context
from sklearn.neighbors import KNeighborsClassifier

from graft.core.errors import TrainingError
from graft.selection.probes.knn import knn_accuracy


def _data(seed: int, count: int = 40, dimensions: int = 6, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % classes)
    features = random.normal(size=(count, dimensions)).astype(np.float32)
    features[:, 0] += labels
    return features, labels


@given(seed=st.integers(0, 500), neighbours=st.sampled_from([1, 3, 5]))
def test_two_classes_against_scikit_learn(seed: int, neighbours: int) -> None:
    """Two classes and an odd number of neighbours: no vote is tied, so both must agree on every image."""
    features, labels = _data(seed, classes=2)
    other = KNeighborsClassifier(neighbours, metric="cosine", algorithm="brute")
    # Without rows of its own to judge, scikit-learn leaves each of the fitted ones out in turn.
    wanted = np.mean(other.fit(features.astype(np.float64), labels).predict(None) == labels)
    assert knn_accuracy(features, labels, neighbours=neighbours) == pytest.approx(wanted)


@settings(max_examples=50)
@given(seed=st.integers(0, 500), scale=st.floats(1e-30, 1e30), groups=st.booleans())
def test_order_and_scale_do_not_matter(seed: int, scale: float, groups: bool) -> None:
    features, labels = _data(seed)
    features[::4] = features[0]  # ties
    order = np.random.default_rng(seed).permutation(len(labels))
    own = np.arange(len(labels)) // 2 if groups else np.arange(len(labels))
    moved = knn_accuracy((features[order] * scale).astype(np.float64), labels[order], own[order])
    assert moved == knn_accuracy(features, labels, own)


def test_by_hand_with_a_tie_of_votes() -> None:
    """Directions in degrees: each image's two nearest have one vote each, so the nearer one's class wins."""
    degrees = np.radians([0, 1, 10, 11.5])
    features = np.stack([np.cos(degrees), np.sin(degrees)], axis=1)
    assert knn_accuracy(features, np.array([0, 0, 1, 1]), neighbours=2) == 1.0
    assert knn_accuracy(features, np.array([0, 1, 0, 1]), neighbours=1) == 0.0


def test_near_duplicates_are_not_neighbours() -> None:
    """Every image has a copy with its own label on features that say nothing: without groups all are right."""
    features, labels = _data(0, 60)
    features = np.random.default_rng(1).normal(size=features.shape).astype(np.float32)
    twice, names = np.repeat(features, 2, axis=0), np.repeat(labels, 2)
    assert knn_accuracy(twice, names, neighbours=1) == 1.0
    assert knn_accuracy(twice, names, np.repeat(np.arange(60), 2), neighbours=1) < 0.6


def test_an_image_without_neighbours_counts_as_wrong() -> None:
    features, labels = _data(0)
    assert knn_accuracy(features, labels, np.zeros(len(labels))) == 0.0


def test_zero_vectors_are_as_far_from_everything() -> None:
    """All zero: every other image has a vote, and among 4 + 2 images the class of four is always in the majority."""
    assert knn_accuracy(np.zeros((6, 3)), np.array([0, 0, 0, 0, 1, 1])) == pytest.approx(4 / 6)


def test_rows_in_parts_are_the_same() -> None:
    features, labels = _data(3)
    wanted = knn_accuracy(features, labels)
    with config_context(working_memory=0.002):  # MiB: seven rows at a time
        assert knn_accuracy(features, labels) == wanted


def test_what_is_refused() -> None:
    features, labels = _data(0)
    features[3, 2] = np.nan
    with pytest.raises(TrainingError, match="not finite for 1 of 40 images"):
        knn_accuracy(features, labels)
    with pytest.raises(TrainingError, match="have the same label"):
        knn_accuracy(features, np.zeros(len(labels), dtype=np.int64))
    with pytest.raises(TrainingError, match=r"shape \(40, 6\) do not fit 39 labels"):
        knn_accuracy(features, labels[1:])
