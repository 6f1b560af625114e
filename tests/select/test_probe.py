"""Probes: curves, a choice of depth that does not flatter itself, and bad input."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from graft.errors import ConfigError, TrainingError
from graft.select.crossval import out_of_fold_probabilities
from graft.select.depth import earliest_best, standard_error
from graft.select.heads import HEADS
from graft.select.probe import fold_scores, probe_at, probe_auto

Set = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]


def _data(seed: int, signal: float, count: int = 120) -> Set:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    features = random.normal(size=(count, 12)).astype(np.float32)
    features[:, :3] += signal * np.eye(3)[labels]
    folds = np.empty(count, dtype=np.int64)
    for fold, (_, part) in enumerate(StratifiedKFold(4, shuffle=True, random_state=seed).split(features, labels)):
        folds[part] = fold
    return features, labels, folds


def test_standard_error_by_hand() -> None:
    assert standard_error([0.8, 0.9, 1.0]) == pytest.approx(0.1 / np.sqrt(3))
    assert standard_error([0.5]) == 0.0


def test_earliest_within_one_standard_error() -> None:
    best = [0.88, 0.90, 0.92]  # mean 0.90, standard error 0.0115
    assert earliest_best([[0.5, 0.5, 0.5], [0.89, 0.89, 0.89], best, [0.90, 0.90, 0.90]]) == 1
    assert earliest_best([[0.5, 0.5, 0.5], [0.88, 0.88, 0.88], best]) == 2


def test_all_scores_equal_is_the_first_depth() -> None:
    assert earliest_best([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.2, 0.3, 0.1]]) == 0
    assert earliest_best([[0.7, 0.7]] * 4) == 0


@pytest.mark.parametrize("head", HEADS)
def test_auto_takes_the_depth_with_the_signal(head: str) -> None:
    noise, labels, folds = _data(1, 0.0)
    signal, _, _ = _data(1, 3.0)
    probe = probe_auto([noise, signal, noise], labels, folds, seed=0, head=head)
    assert probe.depth == 1
    assert probe.fold_depths == (1, 1, 1, 1)
    assert probe.mean > 0.9
    assert probe.curve[1] == max(probe.curve)
    scores = fold_scores(signal, labels, folds, head=head)
    assert probe.curve_errors[1] == pytest.approx(standard_error(scores))
    assert list(probe.fold_scores) == scores
    assert probe.predicted is not None
    assert [np.mean((probe.predicted == labels)[folds == fold]) for fold in range(4)] == scores
    assert (probe.probabilities is not None) == HEADS[head].gives_probabilities


def test_a_given_depth_is_the_one_that_is_scored() -> None:
    noise, labels, folds = _data(1, 0.0)
    signal, _, _ = _data(1, 3.0)
    probe = probe_at([signal, noise], labels, folds, 1)
    assert probe.depth == 1
    assert probe.mean < 0.6 < probe.curve[0]


@pytest.mark.parametrize(("head", "seeds", "count"), [("ridge", 20, 12), ("logistic", 4, 4)])
def test_shuffled_labels_stay_at_chance(head: str, seeds: int, count: int) -> None:
    """Features that know their labels, labels shuffled: the score must be a third, whatever depth is chosen.

    Of 20 times 120 images chance has a standard error of 0.0096 (0.0215 of 4 times); three of these are allowed. The
    planted fault is to take the score of the best depth itself, without nesting.
    """
    means, flattered = [], []
    for seed in range(seeds):
        _, labels, folds = _data(seed, 0.0)
        depths = [_data(100 * seed + depth, 2.0)[0] for depth in range(count)]
        shuffled = np.random.default_rng(seed).permutation(labels)
        probe = probe_auto(depths, shuffled, folds, seed, head)
        means.append(probe.mean)
        flattered.append(max(probe.curve))
    interval = 3 * np.sqrt(2 / 9 / (120 * seeds))
    assert np.mean(means) == pytest.approx(1 / 3, abs=interval)
    if count > 4:
        assert np.mean(flattered) > 1 / 3 + 1.5 * interval


def test_choosing_the_depth_without_nesting_would_flatter() -> None:
    """The score of the fold itself has no part in choosing its depth: a depth that knows one fold is not found."""
    noise, labels, folds = _data(7, 0.0)
    knows = noise.copy()
    knows[folds == 2, :3] += 5 * np.eye(3)[labels[folds == 2]]
    plain, cheating = probe_auto([noise, noise], labels, folds, 0), probe_auto([noise, knows], labels, folds, 0)
    assert cheating.fold_depths[2] == 0
    assert cheating.fold_scores[2] == plain.fold_scores[2]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused_with_their_depth(head: str, value: float) -> None:
    features, labels, folds = _data(0, 1.0)
    broken = features.copy()
    broken[5, 0] = broken[5, 1] = broken[7, 2] = value
    with pytest.raises(TrainingError) as caught:
        probe_auto([features, broken], labels, folds, 0, head)
    assert caught.value.what == "the network's features are not finite for 2 of 120 images"
    assert caught.value.where == "depth 1 of 1"
    assert caught.value.remedy is not None and "weights" in caught.value.remedy


@pytest.mark.parametrize("head", HEADS)
def test_a_class_with_fewer_images_than_folds(head: str) -> None:
    """One image of class 2: in its fold nothing can know the class; no crash, no warning, other folds as good."""
    features, labels, folds = _data(2, 4.0)
    kept = np.flatnonzero((labels != 2) | (np.arange(120) == 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        probe = probe_auto([features[kept]], labels[kept], folds[kept], 0, head)
    assert probe.mean > 0.9
    assert probe.predicted is not None
    assert probe.predicted[np.flatnonzero(labels[kept] == 2)] != 2


@pytest.mark.parametrize("head", HEADS)
def test_constant_features_give_equal_scores_and_the_first_depth(head: str) -> None:
    _, labels, folds = _data(0, 0.0)
    constant = np.full((120, 3), 0.1, np.float32)
    probe = probe_auto([constant, constant * 3, constant], labels, folds, 0, head)
    assert probe.depth == 0
    assert len(set(probe.curve)) == 1
    assert probe == probe_auto([constant, constant * 3, constant], labels, folds, 0, head)


@pytest.mark.parametrize("head", HEADS)
def test_huge_and_tiny_features_are_scored_as_others(head: str) -> None:
    features, labels, folds = _data(0, 2.0)
    wanted = fold_scores(features, labels, folds, head=head)
    for scale in (1e-30, 1e30):
        assert fold_scores(features * np.float32(scale), labels, folds, head=head) == wanted


def test_an_unknown_head_lists_the_known() -> None:
    features, labels, folds = _data(0, 1.0)
    with pytest.raises(ConfigError, match="did you mean 'ridge'"):
        fold_scores(features, labels, folds, head="rigde")


def test_out_of_fold_probabilities_do_not_know_their_own_label() -> None:
    features, labels, folds = _data(4, 3.0)
    found = out_of_fold_probabilities(features, labels, folds)
    assert found.shape == (120, 3)
    assert found.sum(axis=1) == pytest.approx(np.ones(120))
    assert np.mean(found.argmax(1) == labels) > 0.85
    wrong = labels.copy()
    wrong[folds == 1] = (wrong[folds == 1] + 1) % 3  # labels of a fold have no part in its own probabilities
    again = out_of_fold_probabilities(features, wrong, folds)
    assert np.mean(again[folds == 1].argmax(1) == labels[folds == 1]) > 0.85
