"""Nested cross-validation of each head against scikit-learn's pipelines, fitted anew to each training part."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from graft.selection.probes.cross_validation import CrossValidated, CrossValidation
from graft.selection.probes.nested_folds import nested_folds
from graft.tasks.classification.probes import PROBES

Set = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


def data(seed: int, count: int, dimensions: int, classes: int, folds: int) -> Set:
    """Features of unlike scales with some signal, labels, and folds of unlike sizes, at random."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % classes)
    features = random.normal(size=(count, dimensions)) + np.eye(classes, dimensions)[labels]
    where = random.permutation(np.concatenate([np.arange(folds), random.integers(0, folds, count - folds)]))
    return features * 10.0 ** random.integers(-3, 4, dimensions) + random.normal(size=dimensions), labels, where


def run(
    features: NDArray[np.float64], labels: NDArray[np.int64], folds: NDArray[np.int64], head: str
) -> CrossValidated:
    outputs = int(labels.max()) + 1
    return CrossValidation(PROBES[head], features, labels, outputs, nested_folds(labels, folds, 0)).run()


@settings(max_examples=10)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(12, 60),
    dimensions=st.integers(1, 90),
    classes=st.integers(2, 5),
    folds=st.integers(3, 5),
)
def test_ridge_equals_the_protocol_without_any_sharing(
    seed: int, count: int, dimensions: int, classes: int, folds: int
) -> None:
    """For each fold, inner fold and strength a scaler and a ridge on targets of -1 and 1."""
    features, labels, where = data(seed, count, dimensions, classes, folds)
    ours, alphas = run(features, labels, where, "ridge"), PROBES["ridge"].strengths
    targets = np.where(np.eye(classes)[labels] == 1, 1.0, -1.0)

    def fit(train: NDArray[np.bool_], alpha: float, rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        head = make_pipeline(StandardScaler(), Ridge(alpha, solver="cholesky")).fit(features[train], targets[train])
        return np.asarray(head.predict(features[rows]))

    for fold in range(folds):
        test, losses, right = where == fold, np.zeros(len(alphas)), []
        for inner in [where == other for other in range(folds) if other != fold]:
            found = [fit(~test & ~inner, alpha, inner) for alpha in alphas]
            losses += [np.sum((one - targets[inner]) ** 2) for one in found]
            right.append([np.mean(one.argmax(1) == labels[inner]) for one in found])
        best = int(losses.argmin())
        assert ours.strengths[fold] == alphas[best]
        assert ours.scores[test] == pytest.approx(fit(~test, alphas[best], test), rel=1e-7, abs=1e-7)
        assert ours.outer[fold] == np.mean(ours.scores[test].argmax(1) == labels[test])
        assert ours.inner[fold] == pytest.approx([row[best] for row in right])


@pytest.mark.parametrize("dimensions", [8, 70])
@pytest.mark.parametrize("classes", [2, 4])
def test_predicts_as_the_ridge_classifier(dimensions: int, classes: int) -> None:
    features, labels, folds = data(3, 60, dimensions, classes, 4)
    ours = run(features, labels, folds, "ridge")
    for fold, alpha in enumerate(ours.strengths):
        test = folds == fold
        direct = make_pipeline(StandardScaler(), RidgeClassifier(alpha)).fit(features[~test], labels[~test])
        assert np.array_equal(ours.scores[test].argmax(1), direct.predict(features[test]))


@pytest.mark.parametrize("dimensions", [5, 90])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("folds", [2, 4])
def test_logistic_equals_the_protocol_without_any_sharing(dimensions: int, classes: int, folds: int) -> None:
    features, labels, where = data(dimensions, 60, dimensions, classes, folds)
    nested, strengths = nested_folds(labels, where, 0), PROBES["logistic"].strengths
    ours = run(features, labels, where, "logistic")
    heads = [make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=500)) for c in strengths]
    for fold in range(folds):
        test, losses = where == fold, np.zeros(len(strengths))
        for inner in map(nested.rows, nested.inner(fold)):
            rows = ~test & ~inner
            found = [head.fit(features[rows], labels[rows]).predict_proba(features[inner]) for head in heads]
            losses += [log_loss(labels[inner], one, labels=range(classes), normalize=False) for one in found]
        best = int(losses.argmin())
        assert ours.strengths[fold] == strengths[best]
        wanted = heads[best].fit(features[~test], labels[~test]).predict_proba(features[test])
        assert ours.scores[test] == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("head", PROBES)
@pytest.mark.parametrize("dimensions", [8, 70])
def test_held_out_rows_have_no_say_in_the_scaler_or_the_head(dimensions: int, head: str) -> None:
    """Outliers and other labels in fold 1: what folds 0 and 2 are scored by without it stays as it is."""
    features, labels, folds = data(1, 60, dimensions, 3, 4)
    spoiled, other = features.copy(), labels.copy()
    spoiled[folds == 1, 0] *= 1e6
    other[folds == 1] = (labels[folds == 1] + 1) % 3
    plain, changed = run(features, labels, folds, head), run(spoiled, other, folds, head)
    test = folds == 1
    kept = np.ones(dimensions, dtype=bool)
    kept[0] = False
    assert plain.strengths[1] == changed.strengths[1]
    assert plain.inner[1] == changed.inner[1]
    assert not np.array_equal(plain.scores[test], changed.scores[test])


@pytest.mark.parametrize("head", PROBES)
@pytest.mark.parametrize("dimensions", [6, 80])
def test_constant_features_have_no_weight(dimensions: int, head: str) -> None:
    """Constant everywhere, or in the training part only, where any value in the fold must not matter either."""
    features, labels, folds = data(2, 50, dimensions, 3, 4)
    plain = run(features, labels, folds, head)
    constant = np.column_stack([features, np.full(50, 0.1), np.zeros(50), np.where(folds == 0, 1e9, 0.1)])
    found = run(constant, labels, folds, head)
    assert found.scores[folds == 0] == pytest.approx(plain.scores[folds == 0], abs=1e-6)


@pytest.mark.parametrize(("head", "absent"), [("ridge", -1.0), ("logistic", 0.0)])
@pytest.mark.parametrize("dimensions", [4, 60])
def test_a_class_that_only_one_fold_has_is_never_predicted_there(dimensions: int, head: str, absent: float) -> None:
    features, labels, folds = data(5, 50, dimensions, 3, 5)
    labels[labels == 2] = 0
    labels[folds == 3] = 2
    found = run(features, labels, folds, head)
    assert found.outer[3] == 0.0
    assert np.all(found.scores[folds == 3, 2] == absent)


@pytest.mark.parametrize("head", PROBES)
def test_a_training_part_of_one_class_predicts_that_class(head: str) -> None:
    features, labels, folds = data(5, 60, 5, 2, 3)
    labels[:] = np.where(folds == 2, labels, 0)
    assert np.all(run(features, labels, folds, head).scores[folds == 2].argmax(axis=1) == 0)
