"""One shape for every classifier: ordered blocks, a neck that gives the feature vector, and a linear head.

Freezing, probing at every depth, cutting and caching activations all need to know a network's parts in order.
Architectures name those parts differently, so a family (see ``torchvision_families`` and ``timm_families``)
takes the architecture's own modules apart once, and the rest of graft knows only :class:`Network`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from graft.core.errors import ConfigError
from graft.modalities.preprocessor import Inputs
from graft.models.batch import map_tensors

Layout = Literal["NCHW", "NHWC", "NLC", "NC"]
# The dimensions of a block's output that are positions.
POSITIONS: dict[Layout, tuple[int, ...]] = {"NCHW": (2, 3), "NHWC": (1, 2), "NLC": (1,), "NC": ()}
LEAST_BATCH_NORM_MOMENTUM = 0.1


class Backbone(Protocol):
    """A network in ordered blocks, whose output can be pooled after each of them."""

    blocks: nn.ModuleList

    def pooled(self, batch: Inputs) -> Iterator[Tensor]:
        """Yield the pooled output of every block, (n, channels of that block), padding left out where there is any."""

    def features(self, batch: Inputs) -> Tensor:
        """What a head receives, (n, features)."""

    def blocks_before(self, stop: int) -> nn.Sequential:
        """The blocks before ``stop``, sharing this network's modules."""

    def blocks_from(self, start: int) -> nn.Sequential:
        """The blocks from ``start`` on, up to what a head receives."""

    def layer_groups(self) -> list[list[nn.Module]]:
        """The modules that are frozen together, in order: a group for each block."""


class Pool(nn.Module):
    """Average over positions: a block's output -> (n, channels). ``layout`` says where the channels are.

    Tokens (NLC) are averaged as positions of a map are, a class token among them as one of many. A class token by
    itself says little before the last blocks have gathered the image into it (before the first it is the same for
    every image), and not every architecture has one; the mean says the same thing at every depth of all of them.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) or (n, h, w, c) or (n, tokens, c) or (n, c) -> (n, c)."""
        positions = POSITIONS[self.layout]
        return x.mean(dim=positions) if positions else x


@dataclass(frozen=True)
class BackboneParts:
    """An architecture taken apart.

    Attributes:
        blocks: in order; each takes the former's output, the first the preprocessor's batch. A mapping of tensors is
            passed from block to block where they need more than one, such as a mask.
        neck: last block's output -> the feature vector that the architecture's own head receives.
        features: length of that vector.
        layout: where a block's output has its channels.
        pool: a block's output -> (n, channels), padding left out; None: the mean over positions.
        example: a batch of one sample that the blocks can take; None: an image of 64 px.
    """

    blocks: tuple[nn.Module, ...]
    neck: nn.Module
    features: int
    layout: Layout
    pool: nn.Module | None = None
    example: Inputs | None = None


def blank_image(side: int = 64) -> Tensor:
    """One image, (1, 3, side, side)."""
    return torch.zeros(1, 3, side, side)


class Network(nn.Module):
    """Blocks in order, neck, linear head: a batch of n samples -> logits (n, classes)."""

    def __init__(self, parts: BackboneParts, classes: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(parts.blocks)
        self.neck = parts.neck
        self.layout: Layout = parts.layout
        self.pool = Pool(parts.layout) if parts.pool is None else parts.pool
        self.example = blank_image() if parts.example is None else parts.example
        self.head = nn.Linear(parts.features, classes)
        raise_batch_norm_momentum(self)

    def forward(self, batch: Inputs) -> Tensor:
        """A preprocessor's batch of n samples -> logits (n, classes)."""
        logits: Tensor = self.head(self.features(batch))
        return logits

    def features(self, batch: Inputs) -> Tensor:
        """What the head receives, (n, features)."""
        out: Tensor = self.blocks_from(0)(batch)
        return out

    def blocks_before(self, stop: int) -> nn.Sequential:
        """The blocks before ``stop``, sharing this network's modules."""
        return nn.Sequential(*list(self.blocks)[:stop])

    def blocks_from(self, start: int) -> nn.Sequential:
        """The blocks from ``start`` on and the neck; for ``start`` past the last block, nothing at all."""
        if start >= len(self.blocks):
            return nn.Sequential()
        return nn.Sequential(*list(self.blocks)[start:], self.neck)

    def classifier_from(self, start: int) -> nn.Sequential:
        """The blocks from ``start`` on, the neck and the head: what block ``start`` receives -> logits."""
        return nn.Sequential(*self.blocks_from(start), self.head)

    def layer_groups(self) -> list[list[nn.Module]]:
        """The modules that are frozen together, in order: a block each; the neck goes with the last one."""
        groups: list[list[nn.Module]] = [[block] for block in self.blocks]
        groups[-1].append(self.neck)
        return groups

    def pooled(self, batch: Inputs) -> Iterator[Tensor]:
        """Yield the pooled output of every block, (n, channels of that block); the last is the neck's feature."""
        x = batch
        for index, block in enumerate(self.blocks):
            x = block(x)
            yield self.neck(x) if index == len(self.blocks) - 1 else self.pool(x)


def raise_batch_norm_momentum(network: nn.Module) -> None:
    """Let running statistics follow within tens of steps.

    Some architectures publish a momentum of 0.01 or less, made for hundreds of thousands of steps. In a short
    training it leaves the statistics where they began, and the network useless once it is in eval mode.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.momentum is not None:
            module.momentum = max(module.momentum, LEAST_BATCH_NORM_MOMENTUM)


def cut(network: Network, depth: int, classes: int) -> Network:
    """The network up to and including block ``depth``, average pooling and a new head of ``classes``.

    At the last block this is the whole network with its own neck. Modules are shared with ``network``.

    Raises:
        ConfigError: there is no such block.
    """
    require_block(network, depth)
    blocks = list(network.blocks)
    neck, features = network.neck, network.head.in_features
    if depth < len(blocks) - 1:
        neck, features = network.pool, _channels(network, depth)
    kept = tuple(blocks[: depth + 1])
    return Network(BackboneParts(kept, neck, features, network.layout, network.pool, network.example), classes)


def require_block(network: Network, depth: int) -> None:
    """Refuse a depth at which the network has no block."""
    if not 0 <= depth < len(network.blocks):
        raise ConfigError(
            f"there is no block {depth} to cut after",
            where="zoo.candidates: depth",
            remedy=f"this network's blocks are 0 to {len(network.blocks) - 1}; or write `last` or `auto`",
        )


def _channels(network: Network, depth: int) -> int:
    """How many channels block ``depth`` gives; found by running one small sample, in eval mode and put back."""
    was_training = network.training
    network.eval()
    device = next(network.parameters()).device
    with torch.inference_mode():
        for index, pooled in enumerate(network.pooled(map_tensors(lambda part: part.to(device), network.example))):
            if index == depth:
                network.train(was_training)
                return int(pooled.shape[1])
    raise AssertionError("depth was checked by the caller")
