"""Grad-CAM for every family of the zoo: which places of an image spoke for an answer.

Grad-CAM (Selvaraju et al., ICCV 2017) weighs the channels of a map by the mean gradient of the class's logit, and adds
them up; what is below zero speaks against the class and is dropped. captum computes it on a layer whose channels come
first, so a block's output is turned into that and back: positions of a CNN, windows of a Swin, tokens of a ViT (those
before the patches, such as the class token, are no places and are left out).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from graft.inference.predictor import Predictor
    from graft.models.backbone import Layout, Network

# A map of fewer positions a side says no more than "somewhere in the middle".
LEAST_SIDE = 4


class _MoveAxis(nn.Module):
    """``movedim``, or nothing where both axes are the same."""

    def __init__(self, source: int, destination: int) -> None:
        super().__init__()
        self.axes = source, destination

    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(*self.axes)


def _channels(layout: Layout) -> int:
    """The axis of the channels of a block's output: (n, c, h, w), (n, h, w, c) or (n, tokens, c)."""
    return -1 if layout in {"NHWC", "NLC"} else 1


@dataclass(frozen=True)
class GradCam:
    """A model and the place at which its saliency is read.

    Attributes:
        predictor: the model.
        block: index of the block whose output is read; None where no block has a map.
    """

    predictor: Predictor
    block: int | None

    @classmethod
    def of(cls, predictor: Predictor, pixels: NDArray[np.uint8]) -> GradCam:
        """Choose the block by what one prepared image, uint8 (size, size, 3), does in the network."""
        return cls(predictor, target_block(predictor.network, _batch(predictor, pixels)))

    @property
    def method(self) -> str:
        """How the maps come about, in a sentence."""
        if self.block is None:
            return "This network has no map of places inside, so none is shown."
        last = len(self.predictor.network.blocks) - 1
        return f"Grad-CAM on the output of block {self.block} of 0 to {last}, the last that still tells places apart."

    def look(self, pixels: NDArray[np.uint8], answer: int) -> NDArray[np.float32] | None:
        """What spoke for class ``answer``, place by place.

        Args:
            pixels: a prepared image, uint8 (size, size, 3).
            answer: index of the class among the predictor's.

        Returns:
            float32 (size, size) from 0 (nothing) to 1 (most); None where no place spoke for it.
        """
        if self.block is None:
            return None
        found = grad_cam(self.predictor.network, _batch(self.predictor, pixels), answer, self.block).detach()
        greatest = float(found.max())
        if not math.isfinite(greatest) or greatest <= 0:
            return None
        heat: NDArray[np.float32] = (found / greatest).cpu().numpy()
        return heat


def target_block(network: Network, images: Tensor) -> int | None:
    """The last block whose output is a map of at least ``LEAST_SIDE`` x ``LEAST_SIDE`` places that count.

    A place counts where the logits depend on it: after the last block of a ViT only the class token does, and one has
    to look before it. Where no map is so large (small images), the last of the largest ones is taken; None where the
    network has no map at all.

    Args:
        network: in eval mode.
        images: normalised, (n, 3, size, size).
    """
    with torch.enable_grad():
        x, outputs = images.detach().requires_grad_(), []
        for block in network.blocks:
            x = block(x)
            outputs.append(x)
        logits = network.head(network.neck(x))
        slopes = torch.autograd.grad(logits.logsumexp(dim=1).sum(), outputs)
    sides = [_side(slope.movedim(_channels(network.layout), 1)) for slope in slopes]
    wanted = min(LEAST_SIDE, max(sides))
    return None if wanted < 2 else max(index for index, side in enumerate(sides) if side >= wanted)


def grad_cam(network: Network, images: Tensor, answer: int, block: int) -> Tensor:
    """Grad-CAM of one normalised image, (1, 3, size, size), at the output of ``block``: (size, size), zero or more."""
    from captum.attr import LayerAttribution, LayerGradCam

    axis, blocks = _channels(network.layout), list(network.blocks)
    first = _MoveAxis(axis, 1)
    parts = (*blocks[: block + 1], first, _MoveAxis(1, axis), *blocks[block + 1 :], network.neck, network.head)
    with torch.enable_grad():
        read = LayerGradCam(nn.Sequential(*parts), first).attribute(
            images.detach().requires_grad_(), target=answer, relu_attributions=True
        )
    size = (int(images.shape[2]), int(images.shape[3]))
    grown: Tensor = LayerAttribution.interpolate(_places(read), size, interpolate_mode="bilinear")
    return grown[0, 0]


def _side(slopes: Tensor) -> int:
    """Positions along a side of a map (n, c, positions...), or 0 where fewer than two of them count."""
    if slopes.ndim < 3:
        return 0
    places = _places(slopes.abs().sum(dim=1, keepdim=True))
    return int(places.shape[-1]) if int((places > 0).sum()) > len(places) else 0


def _places(values: Tensor) -> Tensor:
    """(n, 1, h, w), or (n, 1, tokens) of which the last side * side are patches -> (n, 1, h, w)."""
    if values.ndim == 4:
        return values
    side = math.isqrt(values.shape[2])
    patches = values[:, :, values.shape[2] - side * side :]
    return patches.reshape(len(values), 1, side, side)


def _batch(predictor: Predictor, pixels: NDArray[np.uint8]) -> Tensor:
    batch = predictor.artifact.preprocessing.collate(pixels[None], next(predictor.network.parameters()).device)
    assert isinstance(batch, Tensor), "images"
    return batch
