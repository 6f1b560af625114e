"""Ridge classifiers of many training parts from one Gram matrix per fold, in place of a fit per training part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.selection.nested_folds import Cells, Nest

# Strengths of the penalty on standardised features, strongest first: the first of equals is taken.
ALPHAS = tuple(float(alpha) for alpha in np.logspace(5, -1, 7))


@dataclass(frozen=True)
class Moments:
    """Count, mean (m) and scatter about that mean of some rows: the matrix (m, m), or its diagonal (m)."""

    count: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]


def moments(rows: NDArray[np.float64]) -> Moments:
    """The moments of ``rows`` (count, m)."""
    mean = rows.mean(axis=0)
    centred = rows - mean
    return Moments(len(rows), mean, centred.T @ centred)


def diagonal_moments(rows: NDArray[np.float64]) -> Moments:
    """The moments of ``rows`` (count, m) with the diagonal of the scatter alone."""
    mean = rows.mean(axis=0)
    return Moments(len(rows), mean, ((rows - mean) ** 2).sum(axis=0))


def merged(parts: Sequence[Moments]) -> Moments:
    """The moments of all rows of ``parts``, at least one: ``sum_f S_f + n_f (m_f - m)(m_f - m)'``.

    The pairwise update of T. Chan, G. Golub, R. LeVeque, Algorithms for Computing the Sample Variance, 1983. Adding
    up the folds that are used costs as much as subtracting the others from a total, and unlike that it loses no digits
    where a fold that is held out has far larger values.
    """
    count = sum(part.count for part in parts)
    mean: NDArray[np.float64] = np.sum([part.count / count * part.mean for part in parts], axis=0)
    moved = np.stack([np.sqrt(part.count) * (part.mean - mean) for part in parts])
    diagonal = parts[0].scatter.ndim == 1
    scatter: NDArray[np.float64] = (moved**2).sum(axis=0) if diagonal else moved.T @ moved
    for part in parts:
        scatter += part.scatter
    return Moments(count, mean, scatter)


def scale_of(count: int, mean: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Deviations to divide by, all (d); infinite for constant features, which a head can make nothing of.

    A feature is constant where its deviation is no more than rounding makes of equal numbers, as in scikit-learn.
    """
    eps = float(np.finfo(np.float64).eps)
    constant = variance <= count * eps * variance + (count * mean * eps) ** 2
    scale: NDArray[np.float64] = np.where(constant, np.inf, np.sqrt(np.where(constant, 1.0, variance)))
    return scale


@dataclass(frozen=True)
class Ridge:
    """Ridge regression on targets of -1 and 1, one per class, as in scikit-learn's RidgeClassifier.

    With Z the standardised rows of a training part (n, d), Y its targets (n, k) and y their mean,

        W = (Z'Z + alpha I)^-1 Z'(Y - y),   scores(z) = z W + y

    (A. Hoerl, R. Kennard, Ridge Regression, 1970). Z'Z and Z'(Y - y) of every training part come from the folds'
    moments, by which standardising becomes a division of rows and columns. Where a training part has fewer images than
    features the same scores come from ``z Z' (Z Z' + alpha I)^-1 (Y - y) + y``, which is smaller; the folds' moments
    then give the scales alone.

    A class without images in a training part has the constant score -1 and never wins, because the scores of the
    others have a mean above that. Features that are constant there have no weight.

    Attributes:
        features: float64 (n, d).
        targets: -1 or 1, float64 (n, k).
        nest: what the training parts are made of.
        parts: for each cell the moments of features and targets together, or where rows are solved for, the diagonal
            ones of the features.
    """

    features: NDArray[np.float64]
    targets: NDArray[np.float64]
    nest: Nest
    parts: tuple[Moments, ...]

    strengths = ALPHAS

    def scores(self, held: Cells, alphas: Sequence[float]) -> NDArray[np.float64]:
        """Scores (alphas, rows of ``held``, k) of the ridges fitted to all other rows."""
        train = merged([part for cell, part in enumerate(self.parts) if cell not in held])
        return self._by_gram(train, held, alphas) if train.scatter.ndim == 2 else self._by_kernel(train, held, alphas)

    @staticmethod
    def losses(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Summed squared error against the targets, for each strength: scores (s, rows, k) -> (s)."""
        wanted = targets_of(labels, scores.shape[2])
        total: NDArray[np.float64] = ((scores - wanted) ** 2).sum(axis=(1, 2))
        return total

    def _by_gram(self, train: Moments, held: Cells, alphas: Sequence[float]) -> NDArray[np.float64]:
        dimensions = self.features.shape[1]
        mean, targets = train.mean[:dimensions], train.mean[dimensions:]
        scale = scale_of(train.count, mean, train.scatter.diagonal()[:dimensions] / train.count)
        gram = train.scatter[:dimensions, :dimensions] / np.outer(scale, scale)
        rows = (self.features[self.nest.rows(held)] - mean) / scale
        return solved(gram, train.scatter[:dimensions, dimensions:] / scale[:, None], rows, alphas) + targets

    def _by_kernel(self, train: Moments, held: Cells, alphas: Sequence[float]) -> NDArray[np.float64]:
        tested = self.nest.rows(held)
        rows = self.features - train.mean
        rows *= 1.0 / scale_of(train.count, train.mean, train.scatter / train.count)
        fitted, mean = rows[~tested], np.asarray(self.targets[~tested].mean(axis=0), dtype=np.float64)
        return solved(fitted @ fitted.T, self.targets[~tested] - mean, rows[tested] @ fitted.T, alphas) + mean


def ridge(features: NDArray[Any], labels: NDArray[np.int64], classes: int, nest: Nest) -> Ridge:
    """The ridge on features (n, d) and labels (n) in 0..classes-1, ready for every training part of ``nest``."""
    x, y = features.astype(np.float64), targets_of(labels, classes)
    cells = range(int(nest.cells.max()) + 1)
    if x.shape[1] > nest.fewest():
        return Ridge(x, y, nest, tuple(diagonal_moments(x[nest.cells == cell]) for cell in cells))
    together = np.hstack([x, y])
    return Ridge(x, y, nest, tuple(moments(together[nest.cells == cell]) for cell in cells))


def targets_of(labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """1 in the column of an image's class and -1 in the others, (n, classes)."""
    return np.where(labels[:, None] == np.arange(classes)[None, :], 1.0, -1.0)


def solved(
    matrix: NDArray[np.float64], right: NDArray[np.float64], rows: NDArray[np.float64], alphas: Sequence[float]
) -> NDArray[np.float64]:
    """``rows (matrix + alpha I)^-1 right`` for each alpha, (alphas, rows, k); ``matrix`` (m, m) is symmetric.

    A Cholesky decomposition per strength: seven together take half as long as one decomposition into eigenvectors,
    which would serve all strengths (0.9 against 1.9 ms at m = 160, 0.28 against 0.73 s at m = 1280, one thread).
    """
    from scipy.linalg.lapack import dposv

    found = np.empty((len(alphas), len(rows), right.shape[1]))
    for number, alpha in enumerate(alphas):
        raised = matrix.copy()
        raised.flat[:: len(raised) + 1] += alpha
        # The transpose is the same matrix in the order of memory that LAPACK overwrites without a copy.
        _, weights, failed = dposv(raised.T, right, lower=1, overwrite_a=1)
        if failed:
            raise np.linalg.LinAlgError(f"a ridge of strength {alpha} is not positive definite at row {failed}")
        found[number] = rows @ weights
    return found
