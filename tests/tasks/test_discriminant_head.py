"""The refitted head: linear discriminant analysis against its formula, and where there is no covariance to estimate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.tasks.classification.probes import SHRINKAGE, discriminant_head


def by_formula(features: np.ndarray, labels: np.ndarray, priors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights ``C^-1 m_k`` and biases ``-m_k C^-1 m_k / 2 + log p_k``, C is the shrunk covariance in the classes."""
    classes, wide = len(priors), features.shape[1]
    means = np.stack([features[labels == label].mean(axis=0) for label in range(classes)])
    covariance = np.zeros((wide, wide))
    for label, prior in enumerate(priors):
        own = np.cov(features[labels == label].T, bias=True).reshape(wide, wide)
        shrunk = (1 - SHRINKAGE) * own + SHRINKAGE * np.trace(own) / wide * np.eye(wide)
        covariance += prior * shrunk
    weights = np.linalg.solve(covariance, means.T).T
    return weights, -(weights * means).sum(axis=1) / 2 + np.log(priors)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 4), st.booleans(), st.integers(0, 1000))
def test_it_decides_as_the_formula_does(classes: int, balanced: bool, seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), random.integers(3, 9, classes))
    features = random.normal(size=(len(labels), 6)) + 2 * random.normal(size=(classes, 6))[labels]
    priors = np.full(classes, 1 / classes) if balanced else np.bincount(labels) / len(labels)
    weights, biases = discriminant_head(features, labels, balanced)
    wanted_weights, wanted_biases = by_formula(features, labels, priors)
    new = random.normal(size=(50, 6))
    ours, theirs = new @ weights.T + biases, new @ wanted_weights.T + wanted_biases
    # Only differences between classes count.
    assert ours - ours[:, :1] == pytest.approx(theirs - theirs[:, :1], abs=1e-6)


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 1]])
def test_one_label_a_class_has_no_covariance_and_is_fitted_all_the_same(labels: list[int]) -> None:
    features = np.eye(len(labels), 5) * 3
    weights, biases = discriminant_head(features, np.array(labels), False)
    assert weights.shape == (len(labels), 5) and np.isfinite(weights).all() and np.isfinite(biases).all()
    assert (features @ weights.T + biases).argmax(axis=1).tolist() == labels
