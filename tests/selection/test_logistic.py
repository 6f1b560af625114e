"""The logistic head against scikit-learn's pipeline of scaler and regression, fitted to each training part."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from graft.selection.nested_folds import nest
from graft.selection.probes.cross_validation import cross_validated, out_of_fold_probabilities
from graft.selection.probes.logistic import STRENGTHS, logistic


def _data(dimensions: int, classes: int, folds: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(dimensions)
    labels = random.permutation(np.arange(60) % classes)
    features = random.normal(size=(60, dimensions)) + np.eye(classes, dimensions)[labels]
    return features * 10.0 ** random.integers(-2, 3, dimensions), labels, random.permutation(np.arange(60) % folds)


@pytest.mark.parametrize("dimensions", [5, 90])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("folds", [2, 4])
def test_against_refitting_each_training_part(dimensions: int, classes: int, folds: int) -> None:
    features, labels, where = _data(dimensions, classes, folds)
    nested = nest(labels, where, 0)
    ours = cross_validated(logistic(features, labels, classes, nested), labels, nested, classes)
    for fold in range(folds):
        test, losses = where == fold, np.zeros(len(STRENGTHS))
        heads = [make_pipeline(StandardScaler(), LogisticRegression(C=c, tol=1e-8, max_iter=5000)) for c in STRENGTHS]
        for part in nested.inner(fold):
            inner = nested.rows(part)
            rows = ~test & ~inner
            for place, head in enumerate(heads):
                found = head.fit(features[rows], labels[rows]).predict_proba(features[inner])
                losses[place] += log_loss(labels[inner], found, labels=range(classes), normalize=False)
        best = int(losses.argmin())
        assert ours.strengths[fold] == STRENGTHS[best]
        wanted = heads[best].fit(features[~test], labels[~test]).predict_proba(features[test])
        assert ours.scores[test] == pytest.approx(wanted, abs=2e-3)


def test_a_class_that_the_training_part_lacks_has_probability_zero() -> None:
    features, labels, folds = _data(5, 3, 3)
    labels[:] = np.where(folds == 1, 2, labels % 2)
    found = out_of_fold_probabilities(features, labels, folds)
    assert np.all(found[folds == 1, 2] == 0)
    assert found.sum(axis=1) == pytest.approx(np.ones(60))


def test_a_training_part_of_one_class_says_that_class() -> None:
    """Without folds 0 and 1 only class 0 is left: nothing to fit, and no error."""
    features, labels, folds = _data(5, 2, 3)
    labels[:] = np.where(folds == 2, 0, labels)
    nested = nest(labels, folds, 0)
    scores = logistic(features, labels, 2, nested).scores(frozenset({0, 1}), STRENGTHS)
    assert np.all(scores == np.array([1.0, 0.0]))
