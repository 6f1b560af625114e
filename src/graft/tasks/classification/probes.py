"""Linear heads of classification, on standardised features: those of probes, and that of the delivered network.

To add a probe: a row of :data:`PROBES`, and its name in ``Select.probe`` of graft.core.settings.select (a test
compares both).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from graft.tasks.base import LinearHead

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Features = NDArray[np.float64]
    Labels = NDArray[np.int64]
    Scores = NDArray[np.float64]

MAX_ITER = 500
FOLDS = 3  # that the strength of the delivered head is chosen on
# Of the covariance of refitted heads: 0.3 to 0.8 differ by 0.25 points (mean of five data sets, benchmarks/RESULTS.md).
SHRINKAGE = 0.6


def ridge_scores(train: Features, labels: Labels, rows: Features, strengths: Sequence[float], classes: int) -> Scores:
    """Decision values of scikit-learn's RidgeClassifier, from one Gram matrix or kernel per training part.

    Five times as fast as a RidgeClassifier for each strength. A class without training images scores -1.
    """
    from scipy.linalg import solve

    targets = _targets(labels, classes)
    mean = targets.mean(axis=0)
    if train.shape[1] > len(train):
        gram, right, rows = train @ train.T, targets - mean, rows @ train.T
    else:
        gram, right = train.T @ train, train.T @ (targets - mean)
    eye = np.eye(len(gram))
    return np.stack([rows @ solve(gram + alpha * eye, right, assume_a="pos") + mean for alpha in strengths])


def squared_error(scores: Scores, labels: Labels) -> float:
    """Squared error against targets of -1 and 1."""
    return float(((scores - _targets(labels, scores.shape[1])) ** 2).sum())


def _targets(labels: Labels, classes: int) -> Scores:
    return np.where(labels[:, None] == np.arange(classes), 1.0, -1.0)


def logistic_scores(
    train: Features, labels: Labels, rows: Features, strengths: Sequence[float], classes: int
) -> Scores:
    """Probabilities by multinomial logistic regressions; strengths are scikit-learn's C.

    A class without training images has probability 0, and a single class 1.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    present = np.unique(labels)
    found = np.zeros((len(strengths), len(rows), classes))
    if len(present) == 1:
        found[:, :, present[0]] = 1.0
        return found
    with warnings.catch_warnings():
        # A weak penalty on separable data need not converge; each strength is judged by its score.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for place, strength in enumerate(strengths):
            head = LogisticRegression(C=strength, max_iter=MAX_ITER).fit(train, labels)
            found[place][:, present] = head.predict_proba(rows)
    return found


def log_loss(scores: Scores, labels: Labels) -> float:
    """Log loss in nats; a probability of 0, of a class that the training part lacks, counts as the least above 0."""
    own = scores[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(own, np.finfo(np.float64).tiny)).sum())


PROBES = {
    "ridge": LinearHead((1e5, 1e4, 1e3, 1e2, 10.0, 1.0, 0.1), ridge_scores, squared_error),
    "logistic": LinearHead((0.001, 0.01, 0.1, 1.0), logistic_scores, log_loss, gives_probabilities=True),
}


def logistic_head(
    features: Features, labels: Labels, balanced: bool, strengths: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (k, d) and biases (k) of a multinomial logistic regression whose strength is chosen by log loss.

    Where a class has too few images to choose it, the middle strength is taken. With ``balanced`` every class weighs as
    much as any other.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

    weighting = "balanced" if balanced else None
    fewest = int(np.bincount(labels)[np.unique(labels)].min())
    if fewest < 2 or len(strengths) == 1:
        middle = strengths[len(strengths) // 2]
        model = LogisticRegression(C=middle, max_iter=MAX_ITER, class_weight=weighting)
    else:
        model = LogisticRegressionCV(
            Cs=strengths,
            l1_ratios=(0,),
            cv=min(FOLDS, fewest),
            scoring="neg_log_loss",
            max_iter=MAX_ITER,
            class_weight=weighting,
            use_legacy_attributes=False,
        )
    with warnings.catch_warnings():
        # A weak penalty on separable data need not converge; each strength is judged by its score.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, labels)
    return _for_each_class(model.coef_, model.intercept_)


def discriminant_head(
    features: Features, labels: Labels, balanced: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (k, d) and biases (k) of linear discriminant analysis with a shrunk covariance.

    ``(1 - s) S + s m I`` stands for the covariance within the classes, with S as estimated, m its mean variance and the
    shrinkage s of :data:`SHRINKAGE` (O. Ledoit and M. Wolf, A well-conditioned estimator for large-dimensional
    covariance matrices, 2004). Features that were trained on these very samples tell their classes apart without a
    mistake, so that a head fitted by its loss follows single samples; this one follows means. With ``balanced`` every
    class has the same prior. Where no class has two samples there is no such covariance, and the head is a logistic
    regression.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    counts = np.bincount(labels)
    present = np.count_nonzero(counts)
    if len(labels) <= present or present < 2:
        return logistic_head(features, labels, balanced, (1.0,))
    priors = np.full(present, 1 / present) if balanced else None
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE, priors=priors).fit(features, labels)
    return _for_each_class(model.coef_, model.intercept_)


def _for_each_class(weights: Features, biases: Features) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of two classes there is one row of weights, for the second against the first."""
    if len(weights) > 1:
        return weights, biases
    return np.vstack([-weights / 2, weights / 2]), np.concatenate([-biases / 2, biases / 2])
