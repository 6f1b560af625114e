"""LogME against the density of a multivariate normal distribution, maximised by an optimiser."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from graft.core.errors import TrainingError
from graft.selection.probes.logme import logme


def _data(seed: int, count: int, dimensions: int, classes: int = 3) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % classes)
    features = random.normal(size=(count, dimensions)).astype(np.float32)
    features[:, : min(3, dimensions)] += 0.7 * np.eye(3)[labels][:, : min(3, dimensions)]
    return features, labels


def _direct(features: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The same figure without its algebra: y ~ N(0, I / beta + F F' / alpha), best alpha and beta by Nelder-Mead."""
    gram = features.astype(np.float64) @ features.T.astype(np.float64)
    count, figures = len(labels), []
    for number in np.unique(labels):
        target = (labels == number).astype(np.float64)

        def loss(logs: NDArray[np.float64], target: NDArray[np.float64] = target) -> float:
            alpha, beta = np.exp(np.clip(logs, -30, 30))
            covariance = np.eye(count) / beta + gram / alpha
            return -float(multivariate_normal.logpdf(target, cov=covariance, allow_singular=True)) / count

        starts = [(0.0, 0.0), (4.0, 2.0), (0.0, 5.0)]
        options = {"xatol": 1e-7, "fatol": 1e-11, "maxiter": 2000}
        figures.append(max(-minimize(loss, start, method="Nelder-Mead", options=options).fun for start in starts))
    return float(np.mean(figures))


@pytest.mark.parametrize(("count", "dimensions"), [(30, 4), (24, 24), (20, 45), (25, 1)])
def test_against_the_density_itself(count: int, dimensions: int) -> None:
    features, labels = _data(count, count, dimensions)
    assert logme(features, labels) == pytest.approx(_direct(features, labels), abs=1e-5)


@settings(max_examples=40)
@given(seed=st.integers(0, 300), count=st.integers(6, 30), dimensions=st.integers(1, 40), scale=st.floats(1e-20, 1e20))
def test_order_and_scale_do_not_matter(seed: int, count: int, dimensions: int, scale: float) -> None:
    features, labels = _data(seed, count, dimensions)
    order = np.random.default_rng(seed).permutation(count)
    moved = logme(features[order].astype(np.float64) * scale, labels[order])
    assert np.isfinite(moved)
    assert moved == pytest.approx(logme(features, labels), abs=1e-4)


def test_the_informative_features_score_higher() -> None:
    features, labels = _data(0, 90, 12)
    noise = np.random.default_rng(5).normal(size=features.shape)
    strong = features + 3 * np.eye(12)[labels]
    assert logme(strong, labels) > logme(features, labels) > logme(noise, labels)


def test_zero_and_constant_features() -> None:
    labels = np.array([0, 0, 0, 1])
    wanted = -0.5 * np.mean([np.log(2 * np.pi * share) + 1 for share in (0.75, 0.25)])
    assert logme(np.zeros((4, 3)), labels) == pytest.approx(wanted)
    constant = logme(np.full((4, 3), 7.0), labels)
    assert constant == pytest.approx(_direct(np.full((4, 3), 7.0, np.float32), labels), abs=1e-5)


def test_an_exact_fit_is_finite_and_best() -> None:
    features, labels = _data(0, 60, 5)
    exact = np.eye(3)[labels]
    assert logme(features, labels) < logme(exact, labels) < 14


def test_what_is_refused() -> None:
    features, labels = _data(0, 30, 4)
    with pytest.raises(TrainingError, match="have the same label"):
        logme(features, np.zeros(30, dtype=np.int64))
    features[0, 0] = np.inf
    with pytest.raises(TrainingError, match="not finite for 1 of 30 images"):
        logme(features, labels)
