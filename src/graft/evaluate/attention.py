"""Where a network looked: Grad-CAM for every family of the zoo, by one road.

Grad-CAM (Selvaraju et al., ICCV 2017) weighs the channels of a map by the mean gradient of the class's logit, and adds
them up; what is below zero speaks against the class and is dropped. It needs a map with the channels in front, so a
block's output is turned into one and back again: positions of a CNN, windows of a Swin, tokens of a ViT (those that
stand before the patches, such as the class token, are no places and are left out). A network that is a single block
has no map inside that graft knows of; there, places are hidden one after the other instead (captum's Occlusion,
after Zeiler and Fergus, ECCV 2014).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.predict import Predictor
    from graft.zoo.network import Layout, Network

# A map of fewer positions a side says no more than "somewhere in the middle".
LEAST_SIDE = 4
# Hidden squares along a side, each half over the next.
_SQUARES = 5


class ChannelsFirst(nn.Module):
    """A block's output in its own layout -> (n, channels, positions...); the values stay the same."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w), (n, h, w, c) or (n, tokens, c) -> (n, c, h, w) or (n, c, tokens)."""
        return x.movedim(-1, 1) if self.layout in {"NHWC", "NLC"} else x


class AsBefore(nn.Module):
    """What :class:`ChannelsFirst` did, undone."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, positions...) -> the block's own layout."""
        return x.movedim(1, -1) if self.layout in {"NHWC", "NLC"} else x


@dataclass(frozen=True)
class Attention:
    """A model with the place at which its attention is read.

    Attributes:
        predictor: the model.
        block: index of the block whose output is read; None where places are hidden instead.
    """

    predictor: Predictor
    block: int | None

    @classmethod
    def of(cls, predictor: Predictor, pixels: NDArray[np.uint8]) -> Attention:
        """Choose the block by what one prepared image, uint8 (size, size, 3), does in the network."""
        return cls(predictor, mapped_block(predictor.network, _batch(predictor, pixels)))

    @property
    def method(self) -> str:
        """How the maps come about, in a sentence."""
        if self.block is None:
            return "What counts is how much the answer's probability falls when a place is hidden (occlusion)."
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
        batch = _batch(self.predictor, pixels)
        network = self.predictor.network
        found = _hidden(network, batch, answer) if self.block is None else grad_cam(network, batch, answer, self.block)
        heat: NDArray[np.float32] = found.detach().cpu().numpy()
        greatest = float(heat.max())
        return heat / np.float32(greatest) if math.isfinite(greatest) and greatest > 0 else None


def mapped_block(network: Network, images: Tensor) -> int | None:
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
    sides = [_side(ChannelsFirst(network.layout)(slope)) for slope in slopes]
    large = [index for index, side in enumerate(sides) if side >= LEAST_SIDE]
    if large:
        return large[-1]
    greatest = max(sides)
    return None if greatest < 2 else max(index for index, side in enumerate(sides) if side == greatest)


def grad_cam(network: Network, images: Tensor, answer: int, block: int) -> Tensor:
    """Grad-CAM of one image at the output of ``block``.

    Args:
        network: in eval mode.
        images: one normalised image, (1, 3, size, size).
        answer: index of the class.
        block: index of the block.

    Returns:
        (size, size), zero or more.
    """
    from captum.attr import LayerAttribution, LayerGradCam

    spread, blocks = ChannelsFirst(network.layout), list(network.blocks)
    before, after = blocks[: block + 1], blocks[block + 1 :]
    through = nn.Sequential(*before, spread, AsBefore(network.layout), *after, network.neck, network.head)
    with torch.enable_grad():
        read = LayerGradCam(through, spread).attribute(
            images.detach().requires_grad_(), target=answer, relu_attributions=True
        )
    places = _places(read)
    grown: Tensor = LayerAttribution.interpolate(places, tuple(images.shape[2:]), interpolate_mode="bilinear")
    return grown[0, 0]


def _hidden(network: Network, images: Tensor, answer: int) -> Tensor:
    """How much the probability of ``answer`` falls when a square is grey, (size, size), zero or more."""
    from captum.attr import Occlusion

    def probability(batch: Tensor) -> Tensor:
        return torch.softmax(network(batch), dim=1)

    step = max(1, images.shape[2] // (_SQUARES + 1))
    with torch.inference_mode():
        fallen = Occlusion(probability).attribute(
            images, sliding_window_shapes=(3, 2 * step, 2 * step), strides=(3, step, step), target=answer
        )
    heat: Tensor = fallen[0].mean(dim=0).clamp(min=0).float()
    return heat


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
    device = next(predictor.network.parameters()).device
    return predictor.artifact.preprocessing.normalise(torch.from_numpy(pixels[None]).to(device))
