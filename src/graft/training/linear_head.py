"""The linear head on fixed features: a convex problem, which the task solves in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from graft.tasks.base import Task

# Inverse strengths of the L2 penalty on standardised features, chosen by cross-validated log loss.
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
# Of a head that blocks are trained after, times the number of its features. One that fits its images as well as it can
# has small losses and moves the blocks little: with ten images a class of drawings, EfficientNet-Lite0 ended at 0.76
# from a head at the strength that the log loss chose, and at 0.80 from this one. One that hardly says anything does not
# learn to in a short training: networks cut at 112 and 192 features fell under their own probes at 1e-4.
START_STRENGTH = 0.3


def solve_head(
    task: Task,
    head: nn.Linear,
    features: Tensor,
    targets: NDArray[Any],
    balanced: bool = False,
    strengths: Sequence[float] = STRENGTHS,
) -> float:
    """Set ``head`` to the task's linear head on ``features`` (n, d) and return its mean loss.

    The features are standardised, and the standardisation is folded into the head: with mean m and deviation s,
    ``w (x - m) / s + b`` is ``(w / s) x + (b - w m / s)``.

    Args:
        task: fits it, and gives the loss.
        head: is set.
        features: (n, d).
        targets: (n).
        balanced: whether every class weighs as much as any other.
        strengths: inverse strengths of the penalty to choose from.
    """
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    scaler = StandardScaler()
    x = scaler.fit_transform(features.double().numpy())
    with threadpool_limits(1):
        weights, bias = task.fit_head(x, targets, balanced, strengths)
    set_head(head, weights / scaler.scale_, bias - weights @ (scaler.mean_ / scaler.scale_))
    with torch.no_grad():
        return float(task.loss(head(features.to(head.weight.device)).cpu(), torch.from_numpy(targets)))


def set_head(head: nn.Linear, weights: NDArray[np.float64], biases: NDArray[np.float64]) -> None:
    """Give ``head`` these weights (k, d) and biases (k)."""
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(weights))
        head.bias.copy_(torch.from_numpy(biases))
