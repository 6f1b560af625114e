"""Probes: scores against a direct computation, and a choice of depth that does not flatter itself."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from graft.select.probe import earliest_best, fold_scores, probe_at, probe_auto, standard_error


def _data(seed: int, signal: float, count: int = 120) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    features = random.normal(size=(count, 12)).astype(np.float32)
    features[:, :3] += signal * np.eye(3)[labels]
    folds = np.empty(count, dtype=np.int64)
    for fold, (_, part) in enumerate(StratifiedKFold(4, shuffle=True, random_state=seed).split(features, labels)):
        folds[part] = fold
    return features, labels, folds


def test_fold_scores_against_a_direct_ridge() -> None:
    """The same strength, solved here by normal equations on standardised features."""
    from graft.select import probe

    features, labels, folds = _data(0, 1.0)
    wanted = []
    for fold in range(4):
        test = folds == fold
        head = probe.linear_head().fit(features[~test], labels[~test])
        alpha = head[-1].alpha_
        mean, deviation = features[~test].mean(0), features[~test].std(0)
        x, z = (features[~test] - mean) / deviation, (features[test] - mean) / deviation
        y = np.where(np.eye(3)[labels[~test]] == 1, 1.0, -1.0)
        weights = np.linalg.solve(x.T @ x + alpha * np.eye(12), x.T @ (y - y.mean(0)))
        wanted.append(np.mean((z @ weights + y.mean(0)).argmax(1) == labels[test]))
    assert fold_scores(features, labels, folds) == pytest.approx(wanted)


def test_the_scaler_is_fitted_inside_the_fold() -> None:
    """Test rows a thousand times larger must not change what the training rows are scaled by."""
    features, labels, folds = _data(0, 3.0)
    other = features.copy()
    other[folds == 0] *= 1000
    assert fold_scores(features, labels, folds)[1:] != fold_scores(other, labels, folds)[1:]
    train = folds != 0
    from graft.select.probe import linear_head

    kept = linear_head().fit(other[train], labels[train])[0].mean_
    assert kept == pytest.approx(features[train].mean(0), abs=1e-5)


def test_standard_error_by_hand() -> None:
    assert standard_error([0.8, 0.9, 1.0]) == pytest.approx(0.1 / np.sqrt(3))
    assert standard_error([0.5]) == 0.0


def test_earliest_within_one_standard_error() -> None:
    best = [0.88, 0.90, 0.92]  # mean 0.90, standard error 0.0115
    assert earliest_best([[0.5, 0.5, 0.5], [0.89, 0.89, 0.89], best, [0.90, 0.90, 0.90]]) == 1
    assert earliest_best([[0.5, 0.5, 0.5], [0.88, 0.88, 0.88], best]) == 2


def test_auto_takes_the_depth_with_the_signal() -> None:
    noise, labels, folds = _data(1, 0.0)
    signal, _, _ = _data(1, 3.0)
    probe = probe_auto([noise, signal, noise], labels, folds, seed=0)
    assert probe.depth == 1
    assert probe.mean > 0.9
    assert probe.curve[1] == max(probe.curve)


def test_choosing_among_many_depths_does_not_lift_chance() -> None:
    """On noise the best of many depths looks better than chance; the score that is reported must not."""
    means, flattered = [], []
    for seed in range(6):
        _, labels, folds = _data(seed, 0.0)
        depths = [_data(100 * seed + depth, 0.0)[0] for depth in range(12)]
        probe = probe_auto(depths, labels, folds, seed)
        means.append(probe.mean)
        flattered.append(max(probe.curve))
    assert np.mean(flattered) > 0.37, "the planted fault: taking the best depth's own score"
    assert np.mean(means) == pytest.approx(1 / 3, abs=0.035)


def test_a_given_depth_is_the_one_that_is_scored() -> None:
    noise, labels, folds = _data(1, 0.0)
    signal, _, _ = _data(1, 3.0)
    probe = probe_at([signal, noise], labels, folds, 1)
    assert probe.depth == 1
    assert probe.mean < 0.6 < probe.curve[0]
