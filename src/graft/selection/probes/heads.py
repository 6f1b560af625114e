"""Linear heads that a probe fits to frozen features.

To add one: a row of :data:`HEADS`, and its name in ``Select.probe`` of graft/core/settings.py (a test compares both).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graft.core.errors import ConfigError, did_you_mean
from graft.metrics.scorer import scorer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Features = NDArray[np.float64]
    Labels = NDArray[np.int64]
    Scores = NDArray[np.float64]

MAX_ITER = 500


@dataclass(frozen=True)
class Head:
    """A row of the table.

    Attributes:
        strengths: of the penalty on standardised features, the strongest first: the first of equals is taken.
        scores: (training features (n, d), labels (n), features (m, d), strengths (s), number of classes k) -> scores
            (s, m, k), higher for likelier classes, of heads fitted at each strength.
        loss: by which the strength is chosen: (scores (m, k), labels (m)) -> its sum over the images.
        gives_probabilities: whether the scores are probabilities that sum to one.
    """

    strengths: tuple[float, ...]
    scores: Callable[[Features, Labels, Features, Sequence[float], int], Scores]
    loss: Callable[[Scores, Labels], float]
    gives_probabilities: bool


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


HEADS = {
    "ridge": Head((1e5, 1e4, 1e3, 1e2, 10.0, 1.0, 0.1), ridge_scores, squared_error, gives_probabilities=False),
    "logistic": Head((0.001, 0.01, 0.1, 1.0), logistic_scores, log_loss, gives_probabilities=True),
}


def head_name(probe: str, metric: str) -> str:
    """The head that `select.probe` names, or the logistic one where `metric` needs probabilities that it lacks.

    Raises:
        ConfigError: there is no such head.
    """
    return probe if head_named(probe).gives_probabilities or not scorer(metric).needs_probabilities else "logistic"


def head_named(name: str) -> Head:
    """The row called ``name``.

    Raises:
        ConfigError: there is none.
    """
    if name not in HEADS:
        raise ConfigError(f"there is no linear head {name!r}", where="select.probe", remedy=did_you_mean(name, HEADS))
    return HEADS[name]
