"""Inputs of the trained part of a network: cached activations, or images that are augmented anew in every epoch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from graft.core.determinism import derive_seed, torch_generator
from graft.modalities.image.preprocessing import ImagePreprocessor
from graft.models.batch import map_tensors
from graft.training.strategies import VIEWS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from graft.augmentation.policies import Policy
    from graft.modalities.preprocessor import Inputs

# Most bytes that their activations may take; beyond that every epoch has views of its own, computed as they are shown.
MOST_VIEW_BYTES = 1 << 30
# Images that are run through the frozen blocks together: more do not fit into a processor's cache.
_VIEW_BATCH = 8
# Processes that augment ahead of a GPU, which would otherwise wait for one core.
MOST_WORKERS = 8


class BatchInputs(Protocol):
    """Gives the inputs of the first trained block."""

    def batches(self, order: Sequence[tuple[Tensor, int]], labels: Tensor) -> Iterator[tuple[Inputs, Tensor]]:
        """The inputs and targets of each batch.

        Args:
            order: indices of the images (m) and the epoch, a pair per batch.
            labels: class indices (n) of all images.

        Yields:
            Inputs, and targets: the labels (m), or each class's share (m, classes) where images were mixed.
        """


@dataclass(frozen=True)
class CachedActivations:
    """Activations at the freezing boundary, the same in every epoch; the frozen part never runs again."""

    activations: Inputs

    def batches(self, order: Sequence[tuple[Tensor, int]], labels: Tensor) -> Iterator[tuple[Inputs, Tensor]]:
        """Index the cached activations."""
        for indices, _ in order:
            yield map_tensors(itemgetter(indices), self.activations), labels[indices]


@dataclass(frozen=True)
class Augmented:
    """Images augmented in every epoch, then run through the frozen part.

    The augmentation of an image depends on the seed, the epoch and the image alone: neither on the batch it is in nor
    on the number of workers. Mixing (mixup, cutmix) depends on the seed, the epoch and the images of the batch.

    Attributes:
        images: uint8 (all, side, side, 3), may be mapped from a file; only what a batch needs is read.
        rows: the training images among them, int (n).
        policy: the augmentation.
        preprocessing: the network's; images leave the policy at its size.
        frozen: everything before the first trained block.
        seed: of the augmentation.
        device: what the frozen part runs on.
        classes: how many there are.
        workers: processes that augment; None: none on a CPU, whose cores are busy with the network, else most cores.
    """

    images: NDArray[np.uint8]
    rows: NDArray[np.intp]
    policy: Policy
    preprocessing: ImagePreprocessor
    frozen: nn.Module
    seed: int
    device: torch.device
    classes: int
    workers: int | None = None

    def batches(self, order: Sequence[tuple[Tensor, int]], labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """uint8 images (m, side, side, 3) -> augmented, normalised, mixed, run through the frozen part."""
        varied = _Varied(self.images, self.rows, self.policy, self.seed, order)
        workers = self.workers
        if workers is None:
            workers = 0 if self.device.type == "cpu" else min(MOST_WORKERS, max(1, (os.cpu_count() or 1) - 1))
        # A generator of its own: the loader would draw from the global one, whose state a resumed training needs.
        loader = DataLoader(varied, batch_size=None, num_workers=workers, generator=torch.Generator())
        for (indices, epoch), images in zip(order, loader, strict=True):
            inputs, targets = self.preprocessing.normalise(images.to(self.device)), labels[indices]
            if self.policy.mixing is not None:
                # After normalising, which is linear: the same as before it, without rounding to whole grey levels.
                seed = derive_seed(self.seed, "mix", epoch, *indices.tolist())
                inputs, targets = self.policy.mixing.mix(inputs, targets, self.classes, seed)
            with torch.no_grad():
                outputs = self.frozen(inputs)
            yield outputs, targets


@dataclass(frozen=True)
class CachedViews:
    """Activations of some augmented views of each image, shown in turn, an image's first one being drawn.

    Attributes:
        activations: of what the first trained block receives, (views, n, ...).
        first: the view that each image is shown in the first epoch, int (n).
    """

    activations: Tensor
    first: Tensor

    def batches(self, order: Sequence[tuple[Tensor, int]], labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Index the cached activations."""
        views = len(self.activations)
        for indices, epoch in order:
            yield self.activations[(self.first[indices] + epoch) % views, indices], labels[indices]


def cached_views(source: Augmented, epochs: int) -> CachedViews | None:
    """Run :data:`VIEWS` augmented views of every image of ``source`` through its frozen part once.

    None where that gains nothing, or does not fit into memory: nothing is frozen, fewer epochs than views, batches that
    are mixed, or more than :data:`MOST_VIEW_BYTES`.
    """
    count = len(source.rows)
    if not len(list(source.frozen.children())) or epochs <= VIEWS or source.policy.mixing is not None:
        return None
    parts = torch.split(torch.arange(count), _VIEW_BATCH)
    order = [(part, view) for view in range(VIEWS) for part in parts]
    unlabelled = torch.zeros(count, dtype=torch.long)
    kept: Tensor | None = None
    for (part, view), (outputs, _) in zip(order, source.batches(order, unlabelled), strict=True):
        if kept is None:
            if VIEWS * count * outputs[0].numel() * outputs.element_size() > MOST_VIEW_BYTES:
                return None
            kept = torch.empty((VIEWS, count, *outputs.shape[1:]), dtype=outputs.dtype)
        kept[view, part] = outputs.cpu()
    assert kept is not None, "there are images"
    return CachedViews(kept, torch.randint(VIEWS, (count,), generator=torch_generator(source.seed, "views")))


@dataclass(frozen=True)
class _Varied(Dataset[Tensor]):
    """The augmented images of each batch of ``order``, uint8 (m, size, size, 3)."""

    images: NDArray[np.uint8]
    rows: NDArray[np.intp]
    policy: Policy
    seed: int
    order: Sequence[tuple[Tensor, int]]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, batch: int) -> Tensor:
        from graft.augmentation.policies import augment_batch

        indices, epoch = self.order[batch]
        seeds = [derive_seed(self.seed, "augment", epoch, index) for index in indices.tolist()]
        return augment_batch(self.policy, torch.from_numpy(self.images[self.rows[indices.numpy()]]), seeds)
