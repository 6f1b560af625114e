"""The error for a loss or for weights that are not finite; it names stage, epoch, step, rate and batch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from graft.core.errors import TrainingError

# Images of the batch that the message names; the rest is counted.
NAMED = 8


class DivergedError(TrainingError):
    """Training that came to a number that is not finite."""


def diverged(what: str, place: str, rate: float, names: Sequence[str]) -> DivergedError:
    """The error for ``what`` that is not finite.

    Args:
        what: such as ``the loss is nan``.
        place: stage, epoch and step.
        rate: the head's learning rate at that step.
        names: files of the batch's images, or their numbers; empty where no batch is to blame.
    """
    batch = ""
    if names:
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        batch = f"\n  batch: {', '.join(names[:NAMED])}{more}"
    return DivergedError(
        f"{what} in {place}, at the rate {rate:.3g}{batch}",
        where="train.learning_rate",
        remedy="lower the learning rate or set train.grad_clip_norm, and look at the validation report for odd images",
    )


def weights_are_finite(module: nn.Module) -> bool:
    """Whether all parameters and buffers are numbers."""
    values = [value for value in module.state_dict().values() if value.is_floating_point()]
    # A sum is finite only where every number is, and takes a tenth of the time.
    return all(math.isfinite(value.sum().item()) or bool(torch.isfinite(value).all()) for value in values)
