"""The exponential moving average of the weights of a network that is being trained (EMA)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def ema_decay_at(steps: int, decay: float) -> float:
    """The share of the average that the step after ``steps`` steps leaves: ``min(decay, (1 + n) / (10 + n))``.

    A short training would otherwise end with an average that is mostly its beginning. The first steps count for more,
    as in TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``.
    """
    return min(decay, (1 + steps) / (10 + steps))


def ema_model(module: nn.Module, decay: float) -> AveragedModel:
    """A copy of ``module`` whose ``update_parameters`` moves it towards ``module``, batch statistics included.

    B. Polyak and A. Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992.
    """

    @torch.no_grad()
    def update(averages: Any, currents: Any, steps: Tensor | int) -> None:
        share = 1 - ema_decay_at(int(steps), decay)
        for average, current in zip(averages, currents, strict=True):
            if average.is_floating_point():
                average.lerp_(current, share)
            else:  # counters of batches
                average.copy_(current)

    return AveragedModel(module, multi_avg_fn=update, use_buffers=True)
