"""How each family of torchvision's classifiers is split into blocks, neck and feature size.

To add a family, write a function that takes the built model apart and give it a row in ``FAMILIES``; the zoo's
parametrised test then covers it by itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from graft.models.backbone import BackboneParts, Pool, blank_image
from graft.models.weights.torchvision_published import (
    State,
    as_published,
    densenet_names,
    drop_auxiliary_heads,
    vit_names_and_positions,
)

Three = tuple[float, float, float]


def _cut_at(modules: Iterable[nn.Module], starts: Iterable[int]) -> tuple[nn.Module, ...]:
    """Cut a list of modules into blocks that begin at the given indices; the first block begins at 0."""
    listed = list(modules)
    edges = [0, *starts, len(listed)]
    return tuple(nn.Sequential(*listed[a:b]) for a, b in itertools.pairwise(edges))


def _resnet(model: Any) -> BackboneParts:
    stem = nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool, model.layer1)
    return BackboneParts((stem, model.layer2, model.layer3, model.layer4), Pool("NCHW"), model.fc.in_features, "NCHW")


def _densenet(model: Any) -> BackboneParts:
    names = [name for name, _ in model.features.named_children()]
    modules = [*model.features.children(), nn.ReLU()]
    starts = [names.index(f"transition{number}") for number in (1, 2, 3)]
    return BackboneParts(_cut_at(modules, starts), Pool("NCHW"), model.classifier.in_features, "NCHW")


def _mobilenet(model: Any) -> BackboneParts:
    """MobileNet v2 and v3, EfficientNet v1 and v2: numbered feature blocks, then a classifier that ends in the head."""
    *between, head = model.classifier
    return BackboneParts(tuple(model.features), nn.Sequential(Pool("NCHW"), *between), head.in_features, "NCHW")


def _convnext(model: Any) -> BackboneParts:
    norm, flatten, head = model.classifier
    # Stem and first stage, then each downsampling with the stage that follows it.
    blocks = _cut_at(model.features, (2, 4, 6))
    return BackboneParts(blocks, nn.Sequential(model.avgpool, norm, flatten), head.in_features, "NCHW")


def _regnet(model: Any) -> BackboneParts:
    first, *rest = model.trunk_output.children()
    return BackboneParts((nn.Sequential(model.stem, first), *rest), Pool("NCHW"), model.fc.in_features, "NCHW")


def _shufflenet(model: Any) -> BackboneParts:
    first = nn.Sequential(model.conv1, model.maxpool, model.stage2)
    return BackboneParts((first, model.stage3, model.stage4, model.conv5), Pool("NCHW"), model.fc.in_features, "NCHW")


def _squeezenet(model: Any) -> BackboneParts:
    # Its own head is a 1x1 convolution, a ReLU and a pooling; a linear head on pooled features takes their place.
    modules = list(model.features)
    starts = [index + 1 for index, module in enumerate(modules) if isinstance(module, nn.MaxPool2d)]
    return BackboneParts(_cut_at(modules, starts), Pool("NCHW"), model.classifier[1].in_channels, "NCHW")


def _mnasnet(model: Any) -> BackboneParts:
    return BackboneParts(
        _cut_at(model.layers, (8, 9, 10, 11, 12, 13, 14)), Pool("NCHW"), model.classifier[1].in_features, "NCHW"
    )


def _vgg(model: Any) -> BackboneParts:
    """AlexNet and VGG: convolutions, then a perceptron whose hidden layers belong to the neck."""
    modules = list(model.features)
    starts = [index + 1 for index, module in enumerate(modules[:-1]) if isinstance(module, nn.MaxPool2d)]
    *hidden, head = model.classifier
    neck = nn.Sequential(model.avgpool, nn.Flatten(1), *hidden)
    return BackboneParts(_cut_at(modules, starts), neck, head.in_features, "NCHW")


def _swin(model: Any) -> BackboneParts:
    neck = nn.Sequential(model.norm, model.permute, model.avgpool, model.flatten)
    return BackboneParts(_cut_at(model.features, (2, 4, 6)), neck, model.head.in_features, "NHWC")


# Where blocks of the Inceptions begin: one per inception module, and a pooling goes with what follows it.
GOOGLENET = (
    "maxpool1 maxpool2 inception3b maxpool3 inception4b inception4c inception4d inception4e maxpool4 inception5b"
)
INCEPTION_V3 = (
    "maxpool1 maxpool2 Mixed_5c Mixed_5d Mixed_6a Mixed_6b Mixed_6c Mixed_6d Mixed_6e Mixed_7a Mixed_7b Mixed_7c"
)


def _googlenet(model: Any) -> BackboneParts:
    return _inceptions(model, GOOGLENET, side=64)


def _inception_v3(model: Any) -> BackboneParts:
    return _inceptions(model, INCEPTION_V3, side=75)


def _inceptions(model: Any, starts: str, side: int) -> BackboneParts:
    """Modules in the order they run (auxiliary heads were never built), then pooling, dropout and the head."""
    names = [name for name, _ in model.named_children()]
    modules = list(model.children())[: names.index("avgpool")]
    neck = nn.Sequential(Pool("NCHW"), model.dropout)
    blocks = _cut_at(modules, (names.index(start) for start in starts.split()))
    return BackboneParts(blocks, neck, model.fc.in_features, "NCHW", example=blank_image(side))


class _Patches(nn.Module):
    """ViT's stem: images (n, 3, size, size) -> tokens (n, 1 + patches, dim), the class token first, with positions."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.conv_proj = model.conv_proj
        self.class_token = model.class_token
        self.pos_embedding = model.encoder.pos_embedding
        self.dropout = model.encoder.dropout

    def forward(self, images: Tensor) -> Tensor:
        patches = self.conv_proj(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(patches), -1, -1), patches], dim=1)
        dropped: Tensor = self.dropout(tokens + self.pos_embedding)
        return dropped


class _ClassToken(nn.Module):
    """Tokens (n, tokens, dim) -> the first of them, (n, dim)."""

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens[:, 0]


def _vit(model: Any) -> BackboneParts:
    first, *rest = model.encoder.layers
    # Its last norm looks at one token at a time, so only the one that the head receives needs it.
    neck = nn.Sequential(_ClassToken(), model.encoder.ln)
    blocks = (nn.Sequential(_Patches(model), first), *rest)
    return BackboneParts(blocks, neck, model.heads.head.in_features, "NLC", example=blank_image(model.image_size))


def _maxvit(model: Any) -> BackboneParts:
    first, *rest = model.blocks
    *between, head = model.classifier
    side = 4 * first.grid_size[0]  # the stem and the first block halve it once each
    return BackboneParts(
        (nn.Sequential(model.stem, first), *rest),
        nn.Sequential(*between),
        head.in_features,
        "NCHW",
        example=blank_image(side),
    )


def _no_options(size: int) -> dict[str, Any]:
    return {}


def _without_auxiliary_heads(size: int) -> dict[str, Any]:
    # torchvision warns unless told how to initialise; `False`, PyTorch's own way, is what it announces as its default.
    return {"aux_logits": False, "init_weights": False}


def _image_size(size: int) -> dict[str, Any]:
    return {"image_size": size}


def _input_size(size: int) -> dict[str, Any]:
    return {"input_size": (size, size)}


def _any_size(arch: str) -> int:
    return 1


def _whole_patches(arch: str) -> int:
    """The name ends in the patch's side, such as vit_b_16."""
    return int(arch.rpartition("_")[2])


def _whole_partitions(arch: str) -> int:
    """Partitions of 7 x 7 positions after a stride of 32, so that all four stages divide into them."""
    return 7 * 32


@dataclass(frozen=True)
class Family:
    """A row of the table.

    Attributes:
        prefixes: a builder's name that begins so belongs to this family.
        take_apart: the built model -> its parts.
        smallest: least side of the input in pixels that every member can take.
        step: builder's name -> the side is a multiple of so many pixels.
        options: side of the input in pixels -> what the builder must be told.
        translate: the built model, a state dict as published -> the model's own names and shapes.
        normalisation: mean and deviation to use instead of those in the weights' metadata.
    """

    prefixes: tuple[str, ...]
    take_apart: Callable[[Any], BackboneParts]
    smallest: int = 32
    step: Callable[[str], int] = _any_size
    options: Callable[[int], dict[str, Any]] = _no_options
    translate: Callable[[Any, State], State] = as_published
    normalisation: tuple[Three, Three] | None = None


# The weights of both Inceptions were made for values from -1 to 1. torchvision normalises by ImageNet's mean and
# deviation like everywhere else, and the model turns that into -1 to 1 (`transform_input`). Here it is done at once.
MINUS_ONE_TO_ONE: tuple[Three, Three] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


FAMILIES: tuple[Family, ...] = (
    Family(("resnet", "resnext", "wide_resnet"), _resnet),
    Family(("densenet",), _densenet, translate=densenet_names),
    Family(("mobilenet_v2", "mobilenet_v3", "efficientnet"), _mobilenet),
    Family(("convnext",), _convnext),
    Family(("regnet",), _regnet),
    Family(("shufflenet",), _shufflenet),
    Family(("squeezenet",), _squeezenet),
    Family(("mnasnet",), _mnasnet),
    Family(("vgg",), _vgg),
    Family(("alexnet",), _vgg, smallest=63),
    Family(("swin",), _swin),
    Family(
        ("googlenet",),
        _googlenet,
        options=_without_auxiliary_heads,
        translate=drop_auxiliary_heads,
        normalisation=MINUS_ONE_TO_ONE,
    ),
    Family(
        ("inception_v3",),
        _inception_v3,
        smallest=75,
        options=_without_auxiliary_heads,
        translate=drop_auxiliary_heads,
        normalisation=MINUS_ONE_TO_ONE,
    ),
    Family(("vit",), _vit, step=_whole_patches, options=_image_size, translate=vit_names_and_positions),
    Family(("maxvit",), _maxvit, smallest=224, step=_whole_partitions, options=_input_size),
)


def family_row(name: str) -> Family | None:
    """The row that a builder's name belongs to, if any."""
    return next((row for row in FAMILIES if name.startswith(row.prefixes)), None)
