"""Class imbalance: class weights in the loss, or class-balanced sampling."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """``n / (k n_c)`` for each of ``classes`` classes, float32 (k): 1 where all k classes have as many images.

    G. King and L. Zeng, Logistic Regression in Rare Events Data, 2001. A class without images weighs nothing.
    """
    counts = torch.bincount(labels, minlength=classes)
    return torch.where(counts > 0, len(labels) / (classes * counts.clamp(min=1)), 0.0).to(torch.float32)


def balanced_sampling(labels: Tensor, classes: int) -> Tensor:
    """The chance of each image (n), so that every class that has images is drawn as often as any other; sums to 1."""
    chances = 1.0 / torch.bincount(labels, minlength=classes).double()[labels]
    return chances / chances.sum()


def _nothing(labels: Tensor, classes: int) -> None:
    return None


Evening = Callable[[Tensor, int], Tensor | None]

# For each value of ``train.imbalance``: the classes' weights in the loss, and the images' chances of being drawn.
# To add a way, add a row.
IMBALANCE: dict[str, tuple[Evening, Evening]] = {
    "none": (_nothing, _nothing),
    "loss": (class_weights, _nothing),
    "sampling": (_nothing, balanced_sampling),
}
