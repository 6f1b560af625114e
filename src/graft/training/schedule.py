"""The learning rate: linear warm-up, then a cosine to zero at the last step."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

# The share of all steps that warm-up takes at most.
MOST_WARM_UP = 0.25


def warm_up_steps(epoch: int, total: int) -> int:
    """Steps of warm-up in a training of ``total`` steps: those of an epoch, or a quarter of all where that is fewer.

    A training of one epoch would otherwise be nothing but warm-up, and end before it ever had the rate that was set.
    """
    return min(epoch, int(MOST_WARM_UP * total))


def rate_at(step: int, warm_up: int, total: int) -> float:
    """Share of the peak rate at ``step`` of ``total``: linear over ``warm_up`` steps, then half a cosine to zero.

    I. Loshchilov and F. Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017, arXiv:1608.03983.
    """
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up)))


def warmup_cosine(optimizer: Optimizer, epoch: int, epochs: int) -> LambdaLR:
    """Scale every group's rate by :func:`rate_at`, for ``epochs`` epochs of ``epoch`` steps."""
    total = epochs * epoch
    warm_up = warm_up_steps(epoch, total)
    return LambdaLR(optimizer, lambda step: rate_at(step, warm_up, total))
