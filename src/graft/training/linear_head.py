"""The linear head on fixed features: a convex problem, solved by logistic regression."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

Weighting = Literal["balanced"]

# Inverse strengths of the L2 penalty on standardised features, chosen by cross-validated log loss.
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
# Of a head that blocks are trained after, times the number of its features. One that fits its images as well as it can
# has small losses and moves the blocks little: with ten images a class of drawings, EfficientNet-Lite0 ended at 0.76
# from a head at the strength that the log loss chose, and at 0.80 from this one. One that hardly says anything does not
# learn to in a short training: networks cut at 112 and 192 features fell under their own probes at 1e-4.
START_STRENGTH = 0.3
FOLDS = 3


def solve_head(
    head: nn.Linear,
    features: Tensor,
    labels: NDArray[np.int64],
    weighting: Weighting | None = None,
    strengths: Sequence[float] = STRENGTHS,
) -> float:
    """Set ``head`` to the multinomial logistic regression on ``features`` (n, d) and return its mean loss in nats.

    The features are standardised, and the standardisation is folded into the head: with mean m and deviation s,
    ``w (x - m) / s + b`` is ``(w / s) x + (b - w m / s)``. Where a class has too few images to choose the strength of
    the penalty, the middle one is taken. With ``weighting`` ``balanced``, every class weighs as much as any other.

    Args:
        head: is set.
        features: (n, d).
        labels: class indices (n).
        weighting: how classes of unequal size count.
        strengths: inverse strengths of the penalty to choose from.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    scaler = StandardScaler()
    x = scaler.fit_transform(features.double().numpy())
    with threadpool_limits(1), warnings.catch_warnings():
        # A weak penalty on separable data need not converge; each strength is judged by its score.
        warnings.simplefilter("ignore", ConvergenceWarning)
        weights, bias = _logistic(x, labels, weighting, strengths)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weights / scaler.scale_))
        head.bias.copy_(torch.from_numpy(bias - weights @ (scaler.mean_ / scaler.scale_)))
        return float(F.cross_entropy(head(features.to(head.weight.device)).cpu(), torch.from_numpy(labels)))


def _logistic(
    x: NDArray[np.float64], labels: NDArray[np.int64], weighting: Weighting | None, strengths: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (classes, d) and biases (classes)."""
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

    fewest = int(np.bincount(labels)[np.unique(labels)].min())
    if fewest < 2 or len(strengths) == 1:
        middle = strengths[len(strengths) // 2]
        model = LogisticRegression(C=middle, max_iter=500, class_weight=weighting)
    else:
        model = LogisticRegressionCV(
            Cs=strengths,
            l1_ratios=(0,),
            cv=min(FOLDS, fewest),
            scoring="neg_log_loss",
            max_iter=500,
            class_weight=weighting,
            use_legacy_attributes=False,
        )
    model.fit(x, labels)
    if len(model.classes_) > 2:
        return model.coef_, model.intercept_
    # Two classes have one row of weights, for the second against the first.
    return np.vstack([-model.coef_ / 2, model.coef_ / 2]), np.concatenate([-model.intercept_ / 2, model.intercept_ / 2])
