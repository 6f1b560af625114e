"""The ridge of many training parts against scikit-learn's scaler and ridge, fitted anew to each of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import Ridge as DirectRidge
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler

from graft.selection.nested_folds import nest
from graft.selection.probes.cross_validation import CrossValidated, cross_validated
from graft.selection.probes.ridge import ALPHAS, merged, moments, ridge

Set = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


def _data(seed: int, count: int, dimensions: int, classes: int, folds: int) -> Set:
    """Features of unlike scales with some signal, labels, and folds of unlike sizes, at random."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % classes)
    features = random.normal(size=(count, dimensions)) + np.eye(classes, dimensions)[labels]
    where = random.permutation(np.concatenate([np.arange(folds), random.integers(0, folds, count - folds)]))
    return features * 10.0 ** random.integers(-3, 4, dimensions) + random.normal(size=dimensions), labels, where


def _fit(
    features: NDArray[np.float64], labels: NDArray[np.int64], train: NDArray[np.bool_], alpha: float
) -> NDArray[np.float64]:
    """Scores of all rows by a scaler and a ridge that see the rows ``train`` only."""
    targets = np.where(np.eye(labels.max() + 1)[labels] == 1, 1.0, -1.0)
    scaler = StandardScaler().fit(features[train])
    head = DirectRidge(alpha, solver="cholesky").fit(scaler.transform(features[train]), targets[train])
    return np.asarray(head.predict(scaler.transform(features)))


def _direct(features: NDArray[np.float64], labels: NDArray[np.int64], folds: NDArray[np.int64]) -> CrossValidated:
    """The protocol without any sharing: for each fold, each inner fold and each strength a scaler and a ridge."""
    names = np.unique(folds)
    targets = np.where(np.eye(labels.max() + 1)[labels] == 1, 1.0, -1.0)
    scores, outer, inner, strengths = np.empty(targets.shape), [], [], []
    for fold in names:
        losses, right = np.zeros(len(ALPHAS)), []
        for other in names[names != fold]:
            train, test = (folds != fold) & (folds != other), folds == other
            found = [_fit(features, labels, train, alpha)[test] for alpha in ALPHAS]
            losses += [np.sum((one - targets[test]) ** 2) for one in found]
            right.append([np.mean(one.argmax(1) == labels[test]) for one in found])
        best = int(np.argmin(losses))
        test = folds == fold
        scores[test] = _fit(features, labels, ~test, ALPHAS[best])[test]
        strengths.append(ALPHAS[best])
        outer.append(float(np.mean(scores[test].argmax(1) == labels[test])))
        inner.append(tuple(float(row[best]) for row in right))
    return CrossValidated(tuple(outer), tuple(inner), tuple(strengths), scores)


def _ours(features: NDArray[np.float64], labels: NDArray[np.int64], folds: NDArray[np.int64]) -> CrossValidated:
    classes, nested = int(labels.max()) + 1, nest(labels, folds, 0)
    return cross_validated(ridge(features, labels, classes, nested), labels, nested, classes)


@settings(max_examples=10)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(12, 60),
    dimensions=st.integers(1, 90),
    classes=st.integers(2, 5),
    folds=st.integers(3, 5),
)
def test_equals_refitting_each_training_part(seed: int, count: int, dimensions: int, classes: int, folds: int) -> None:
    """More features than images and fewer, folds that lack a class among them: scores, choices and predictions."""
    features, labels, where = _data(seed, count, dimensions, classes, folds)
    ours, direct = _ours(features, labels, where), _direct(features, labels, where)
    assert ours.scores == pytest.approx(direct.scores, rel=1e-7, abs=1e-7)
    assert np.array_equal(ours.scores.argmax(1), direct.scores.argmax(1))
    assert ours.strengths == direct.strengths
    assert ours.outer == direct.outer
    assert np.array(ours.inner) == pytest.approx(np.array(direct.inner))


@pytest.mark.parametrize("dimensions", [8, 70])
@pytest.mark.parametrize("classes", [2, 4])
def test_predicts_as_the_ridge_classifier(dimensions: int, classes: int) -> None:
    features, labels, folds = _data(3, 60, dimensions, classes, 4)
    nested = nest(labels, folds, 0)
    head, test = ridge(features, labels, classes, nested), folds == 2
    scores = head.scores(frozenset({2}), (10.0,))[0]
    scaler = StandardScaler().fit(features[~test])
    direct = RidgeClassifier(10.0).fit(scaler.transform(features[~test]), labels[~test])
    assert np.array_equal(scores.argmax(1), direct.predict(scaler.transform(features[test])))


@pytest.mark.parametrize("dimensions", [8, 70])
def test_what_is_held_out_has_no_say(dimensions: int) -> None:
    """Rows of the fold a million times larger, with other labels: what is fitted to the others stays as it is."""
    features, labels, folds = _data(1, 60, dimensions, 3, 4)
    spoiled, other, test = features.copy(), labels.copy(), folds == 1
    spoiled[test] *= 1e6
    other[test] = 0
    probe = np.where(folds[:, None] == 1, features, spoiled)  # the rows that are scored are the same in both
    nested = nest(labels, folds, 0)
    first = ridge(features, labels, 3, nested)
    second = dataclasses.replace(ridge(spoiled, other, 3, nested), features=probe)
    assert np.array_equal(first.scores(frozenset({1}), ALPHAS), second.scores(frozenset({1}), ALPHAS))


@pytest.mark.parametrize("dimensions", [6, 80])
def test_constant_features_have_no_weight(dimensions: int) -> None:
    """Constant everywhere, or in the training part only, where any value in the fold must not matter either."""
    features, labels, folds = _data(2, 50, dimensions, 3, 4)
    plain = _ours(features, labels, folds)
    constant = np.column_stack([features, np.full(50, 1e7 / 3), np.zeros(50)])
    with_constants = _ours(constant, labels, folds)
    assert with_constants.scores == pytest.approx(plain.scores, abs=1e-9)
    inside = np.column_stack([features, np.where(folds == 0, 1e9, 0.1)])
    nested = nest(labels, folds, 0)
    held = frozenset({0})
    wanted = ridge(features, labels, 3, nested).scores(held, ALPHAS)
    assert ridge(inside, labels, 3, nested).scores(held, ALPHAS) == pytest.approx(wanted, abs=1e-9)


def test_only_constant_features_say_the_majority() -> None:
    labels, folds = np.arange(40) % 4 // 3, np.arange(40) // 4 % 5
    ours = _ours(np.ones((40, 3)), labels, folds)
    assert ours.outer == (0.75,) * 5
    assert ours.inner == ((0.75,) * 4,) * 5


@pytest.mark.parametrize("dimensions", [4, 60])
def test_a_class_that_only_one_fold_has_is_never_predicted_there(dimensions: int) -> None:
    features, labels, folds = _data(5, 50, dimensions, 3, 5)
    labels[labels == 2] = 0
    labels[folds == 3] = 2
    ours = _ours(features, labels, folds)
    assert ours.outer[3] == 0.0
    assert ours.scores == pytest.approx(_direct(features, labels, folds).scores, abs=1e-7)


@given(seed=st.integers(0, 1000), parts=st.integers(1, 6), far=st.sampled_from([0.0, 1e6]))
def test_merged_moments_are_those_of_all_rows(seed: int, parts: int, far: float) -> None:
    random = np.random.default_rng(seed)
    rows = [random.normal(size=(int(random.integers(1, 9)), 4)) + far for _ in range(parts)]
    found, wanted = merged([moments(part) for part in rows]), np.concatenate(rows)
    assert found.count == len(wanted)
    assert found.mean == pytest.approx(wanted.mean(axis=0))
    centred = wanted - wanted.mean(axis=0)
    assert found.scatter == pytest.approx(centred.T @ centred, abs=1e-7)
