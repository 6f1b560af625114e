"""torchvision's classifiers, family by family: how each is taken apart into blocks, neck and feature size.

To add a family, write a function that takes the built model apart and give it a row in ``FAMILIES``; the zoo's
parametrised test then covers it by itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from graft.zoo.network import Parts, Pool


def _pieces(modules: Iterable[nn.Module], starts: Iterable[int]) -> tuple[nn.Module, ...]:
    """Cut a list of modules into blocks that begin at the given indices; the first block begins at 0."""
    listed = list(modules)
    edges = [0, *starts, len(listed)]
    return tuple(nn.Sequential(*listed[a:b]) for a, b in itertools.pairwise(edges))


def _resnet(model: Any) -> Parts:
    stem = nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool, model.layer1)
    return Parts((stem, model.layer2, model.layer3, model.layer4), Pool("NCHW"), model.fc.in_features, "NCHW")


def _densenet(model: Any) -> Parts:
    names = [name for name, _ in model.features.named_children()]
    modules = [*model.features.children(), nn.ReLU()]
    starts = [names.index(f"transition{number}") for number in (1, 2, 3)]
    return Parts(_pieces(modules, starts), Pool("NCHW"), model.classifier.in_features, "NCHW")


def _mobilenet(model: Any) -> Parts:
    """MobileNet v2 and v3, EfficientNet v1 and v2: numbered feature blocks, then a classifier that ends in the head."""
    *between, head = model.classifier
    return Parts(tuple(model.features), nn.Sequential(Pool("NCHW"), *between), head.in_features, "NCHW")


def _convnext(model: Any) -> Parts:
    norm, flatten, head = model.classifier
    # Stem and first stage, then each downsampling with the stage that follows it.
    blocks = _pieces(model.features, (2, 4, 6))
    return Parts(blocks, nn.Sequential(model.avgpool, norm, flatten), head.in_features, "NCHW")


def _regnet(model: Any) -> Parts:
    first, *rest = model.trunk_output.children()
    return Parts((nn.Sequential(model.stem, first), *rest), Pool("NCHW"), model.fc.in_features, "NCHW")


def _shufflenet(model: Any) -> Parts:
    first = nn.Sequential(model.conv1, model.maxpool, model.stage2)
    return Parts((first, model.stage3, model.stage4, model.conv5), Pool("NCHW"), model.fc.in_features, "NCHW")


def _squeezenet(model: Any) -> Parts:
    # Its own head is a 1x1 convolution, a ReLU and a pooling; a linear head on pooled features takes their place.
    modules = list(model.features)
    starts = [index + 1 for index, module in enumerate(modules) if isinstance(module, nn.MaxPool2d)]
    return Parts(_pieces(modules, starts), Pool("NCHW"), model.classifier[1].in_channels, "NCHW")


def _mnasnet(model: Any) -> Parts:
    return Parts(
        _pieces(model.layers, (8, 9, 10, 11, 12, 13, 14)), Pool("NCHW"), model.classifier[1].in_features, "NCHW"
    )


def _vgg(model: Any) -> Parts:
    """AlexNet and VGG: convolutions, then a perceptron whose hidden layers belong to the neck."""
    modules = list(model.features)
    starts = [index + 1 for index, module in enumerate(modules[:-1]) if isinstance(module, nn.MaxPool2d)]
    *hidden, head = model.classifier
    neck = nn.Sequential(model.avgpool, nn.Flatten(1), *hidden)
    return Parts(_pieces(modules, starts), neck, head.in_features, "NCHW")


def _swin(model: Any) -> Parts:
    neck = nn.Sequential(model.norm, model.permute, model.avgpool, model.flatten)
    return Parts(_pieces(model.features, (2, 4, 6)), neck, model.head.in_features, "NHWC")


@dataclass(frozen=True)
class Family:
    """A row of the table.

    Attributes:
        prefixes: a builder's name that begins so belongs to this family.
        take_apart: the built model -> its parts.
        smallest: least side of the input in pixels that every member can take.
    """

    prefixes: tuple[str, ...]
    take_apart: Callable[[Any], Parts]
    smallest: int = 32


FAMILIES: tuple[Family, ...] = (
    Family(("resnet", "resnext", "wide_resnet"), _resnet),
    Family(("densenet",), _densenet),
    Family(("mobilenet_v2", "mobilenet_v3", "efficientnet"), _mobilenet),
    Family(("convnext",), _convnext),
    Family(("regnet",), _regnet),
    Family(("shufflenet",), _shufflenet),
    Family(("squeezenet",), _squeezenet),
    Family(("mnasnet",), _mnasnet),
    Family(("vgg",), _vgg),
    Family(("alexnet",), _vgg, smallest=63),
    Family(("swin",), _swin),
)


def family_row(name: str) -> Family | None:
    """The row that a builder's name belongs to, if any."""
    return next((row for row in FAMILIES if name.startswith(row.prefixes)), None)
