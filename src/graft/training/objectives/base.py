"""The protocol of a training objective, and the batch that it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from graft.modalities.preprocessor import Inputs


@dataclass(frozen=True)
class Batch:
    """One step's images, on the training device.

    Attributes:
        inputs: what the first trained block receives: a tensor (m, ...), or a mapping of such.
        targets: as the task encodes them (m), or class probabilities (m, classes) where images were mixed.
        indices: of these images among the training images (m).
        epoch: counted from 0.
        step: of the epoch, counted from 0.
        is_last: whether it ends the epoch.
        weight: of its mean loss; 1 unless several processes share a batch.
    """

    inputs: Inputs
    targets: Tensor
    indices: Tensor
    epoch: int
    step: int
    is_last: bool
    weight: float = 1.0


class Objective(Protocol):
    """A loss, and the modules that it trains beside the network and that are dropped afterwards.

    To add one (distillation, a domain discriminator), write a class with these two members and pass it in
    :class:`graft.training.finetune.FineTuningData`.
    """

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """Modules with parameters of their own, by name; they are moved, optimised and checkpointed with the network.

        With several devices each process trains its own copy.
        """

    def loss(self, model: Callable[[Inputs], Tensor], batch: Batch, step: int) -> Tensor:
        """The mean loss of a batch, a scalar with a gradient.

        Args:
            model: inputs -> outputs (m, k), as the device runs it.
            batch: one step's images.
            step: steps done before this one, over all epochs.
        """
