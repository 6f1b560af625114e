"""Multinomial logistic regression by L-BFGS under the same protocol as the ridge; it gives probabilities."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.selection.probes.ridge import scale_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.selection.nested_folds import Cells, Nest

# Inverse strengths of the L2 penalty on standardised features, strongest penalty first: the first of equals is taken.
STRENGTHS = (0.001, 0.01, 0.1, 1.0)
MOST_STEPS = 500


@dataclass(frozen=True)
class Logistic:
    """Logistic regression with weights W (d, k) that minimise, on standardised rows z of a training part,

    ``- C sum_i log softmax(z_i W + b)[y_i] + |W|^2 / 2``

    (scikit-learn's LogisticRegression by L-BFGS: D. Liu, J. Nocedal, On the Limited Memory BFGS Method, 1989). For two
    classes it has one column of weights, for the second class against the first.

    A class without images in a training part has probability 0 there; a single class has probability 1. Features that
    are constant there have no weight.

    Attributes:
        features: float64 (n, d).
        labels: class indices (n).
        classes: their number k.
        nest: what the training parts are made of.
    """

    features: NDArray[np.float64]
    labels: NDArray[np.int64]
    classes: int
    nest: Nest

    strengths = STRENGTHS

    def scores(self, held: Cells, strengths: Sequence[float]) -> NDArray[np.float64]:
        """Probabilities (strengths, rows of ``held``, k) by heads fitted to all other rows."""
        tested = self.nest.rows(held)
        labels = self.labels[~tested]
        present = np.unique(labels)
        found = np.zeros((len(strengths), int(tested.sum()), self.classes))
        if len(present) == 1:
            found[:, :, present[0]] = 1.0
            return found
        train, rows = _rotated(*_standardised(self.features[~tested], self.features[tested]))
        for number, strength in enumerate(strengths):
            found[number][:, present] = _fitted(train, labels, strength).predict_proba(rows)
        return found

    @staticmethod
    def losses(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Summed log loss in nats for each strength: scores (s, rows, k) -> (s).

        The probability of a class that the training part lacks is taken as the least number above 0: an equal burden
        for each strength, so that the others decide.
        """
        own = scores[:, np.arange(len(labels)), labels]
        total: NDArray[np.float64] = -np.log(np.maximum(own, np.finfo(np.float64).tiny)).sum(axis=1)
        return total


def logistic(features: NDArray[Any], labels: NDArray[np.int64], classes: int, nest: Nest) -> Logistic:
    """Logistic heads on features (n, d) and labels (n) in 0..classes-1 for the training parts of ``nest``."""
    return Logistic(features.astype(np.float64), labels, classes, nest)


def _standardised(
    train: NDArray[np.float64], rows: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean = train.mean(axis=0)
    scale = scale_of(len(train), mean, train.var(axis=0))
    return (train - mean) / scale, (rows - mean) / scale


def _rotated(train: NDArray[np.float64], rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both in as many coordinates as there are training rows, where there are more features than that.

    The best weights are a combination of training rows, so turning the axes into the space of these changes neither
    penalty nor scores, and each step of the descent costs n / d as much.
    """
    if train.shape[1] <= train.shape[0]:
        return train, rows
    basis = np.linalg.qr(train.T)[0]
    return train @ basis, rows @ basis


def _fitted(train: NDArray[np.float64], labels: NDArray[np.int64], strength: float) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        # A weak penalty on separable data need not converge; each strength is judged by its score.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, max_iter=MOST_STEPS).fit(train, labels)
