"""What the trained part of a network is fed with: kept activations, or images augmented afresh in every epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from graft.determinism import derive_seed
from graft.zoo.preprocessing import Preprocessing

if TYPE_CHECKING:
    from graft.augment.policies import Policy


class Inputs(Protocol):
    """Gives the inputs of the first trained block."""

    def batch(self, indices: Tensor, labels: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """The inputs (n, ...) of the images ``indices`` (n) in ``epoch``, and what is to be said of them.

        Targets are the ``labels`` (n) as they came, or each class's share (n, classes) where images were mixed.
        """


@dataclass(frozen=True)
class Kept:
    """Activations at the freezing boundary, the same in every epoch; the frozen part never runs again."""

    activations: Tensor

    def batch(self, indices: Tensor, labels: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Look up."""
        return self.activations[indices], labels


@dataclass(frozen=True)
class Augmented:
    """Images varied by a policy in every epoch, then run through the frozen part.

    The variation of an image depends on the seed, the epoch and the image alone: neither on the batch it is in nor
    on the number of workers. A mixing depends on the seed, the epoch and which images make up the batch.
    """

    images: Tensor
    policy: Policy
    preprocessing: Preprocessing
    frozen: nn.Module
    seed: int
    device: torch.device
    classes: int

    def batch(self, indices: Tensor, labels: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """uint8 images (n, size, size, 3) -> augmented, normalised, mixed, run through the frozen part."""
        from graft.augment.policies import augment_batch

        seeds = [derive_seed(self.seed, "augment", epoch, int(index)) for index in indices]
        varied = augment_batch(self.policy, self.images[indices], seeds)
        inputs, targets = self.preprocessing.normalise(varied.to(self.device)), labels
        if self.policy.mixing is not None:
            # After normalising, which is linear: the same as before it, without rounding to whole grey levels.
            seed = derive_seed(self.seed, "mix", epoch, *indices.tolist())
            inputs, targets = self.policy.mixing.mix(inputs, labels, self.classes, seed)
        with torch.no_grad():
            return self.frozen(inputs), targets
