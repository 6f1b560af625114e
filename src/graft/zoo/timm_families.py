"""timm's classifiers: the common families in blocks, and every other architecture as one block.

To add a family, write a function that takes the built model apart and give it a row in ``FAMILIES``. What no row
knows still works: its trunk is a single block, so it can be probed at its last feature and frozen as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from graft.zoo.network import Parts, Pool


def _efficientnet(model: Any) -> Parts:
    first, *rest = model.blocks
    stem = nn.Sequential(model.conv_stem, model.bn1, first)
    top = nn.Sequential(model.conv_head, model.bn2)
    return Parts((stem, *rest, top), Pool("NCHW"), model.num_features, "NCHW")


def _resnet(model: Any) -> Parts:
    stem = nn.Sequential(model.conv1, model.bn1, model.act1, model.maxpool, model.layer1)
    return Parts((stem, model.layer2, model.layer3, model.layer4), Pool("NCHW"), model.num_features, "NCHW")


def _convnext(model: Any) -> Parts:
    first, *rest = model.stages
    neck = nn.Sequential(model.norm_pre, model.head.global_pool, model.head.norm, model.head.flatten)
    return Parts((nn.Sequential(model.stem, first), *rest), neck, model.num_features, "NCHW")


def _whole(model: Any) -> Parts:
    model.reset_classifier(0)
    return Parts((model,), nn.Identity(), model.head_hidden_size or model.num_features, "NC")


# By the name of timm's model class.
FAMILIES: dict[str, Callable[[Any], Parts]] = {
    "EfficientNet": _efficientnet,
    "ResNet": _resnet,
    "ConvNeXt": _convnext,
}


def take_apart(model: Any) -> Parts:
    """A built timm model -> its parts, by its class; an unknown class becomes one block."""
    return FAMILIES.get(type(model).__name__, _whole)(model)
