"""What is known of an architecture before anything is built or loaded."""

from __future__ import annotations

import pytest
import torch

from graft.core.compat.torchvision import models
from graft.core.errors import ConfigError
from graft.core.settings import Candidate
from graft.models.weights.bundled import BUNDLED
from graft.models.zoo.registry import (
    TORCHVISION_BUILDER,
    builder_for,
    check_input_size,
    published_accuracy,
    size_at_least,
)


@pytest.mark.parametrize(
    ("arch", "weights", "accuracy"),
    [
        ("resnet18", "DEFAULT", 0.69758),
        ("resnet18", "pretrained", 0.69758),
        ("resnet50", "IMAGENET1K_V1", 0.76130),
        ("resnet50", "IMAGENET1K_V2", 0.80858),
        ("vgg16", "IMAGENET1K_FEATURES", None),
        ("resnet18", "none", None),
        ("resnet18", "source", None),
        ("resnet18", "mine.safetensors", None),
        ("timm:tf_efficientnet_lite0", "bundled", 0.751),
        ("timm:tf_efficientnet_lite2", "pretrained", 0.776),
        ("timm:tf_efficientnet_lite0", "none", None),
        ("timm:resnet18", "pretrained", None),
    ],
)
def test_published_accuracy_is_that_of_the_weights(arch: str, weights: str, accuracy: float | None) -> None:
    assert published_accuracy(Candidate(arch, weights)) == pytest.approx(accuracy)


@pytest.mark.parametrize("arch", TORCHVISION_BUILDER.names())
def test_all_classifiers_of_torchvision_have_one(arch: str) -> None:
    for name in set(models.get_model_weights(arch).__members__) - {"IMAGENET1K_FEATURES"}:
        accuracy = published_accuracy(Candidate(arch, name))
        assert accuracy is not None and 0.5 < accuracy < 0.9


def test_no_accuracy_of_what_nobody_builds() -> None:
    with pytest.raises(ConfigError, match="unknown architecture 'resnet19'"):
        published_accuracy(Candidate("resnet19"))


@pytest.mark.parametrize("arch", BUNDLED)
def test_bundled_architectures_are_there_and_take_any_size(arch: str) -> None:
    """Both are said without asking timm, so timm is asked here."""
    assert arch in builder_for(arch).names()
    model = builder_for(arch).model(arch).eval()
    for size in (1, 17, 32, 97):
        check_input_size(arch, size)
        with torch.no_grad():
            assert model(torch.zeros(1, 3, size, size)).shape == (1, 1000)


@pytest.mark.parametrize(
    "arch", ["shufflenet_v2_x0_5", "vit_b_16", "inception_v3", "timm:resnet18", "timm:vit_tiny_patch16_224"]
)
@pytest.mark.parametrize("size", [20, 64, 75, 100])
def test_the_least_size_from_one_on_is_taken_and_none_between_is(arch: str, size: int) -> None:
    """Tried one by one."""
    found = size_at_least(arch, size)
    assert [one for one in range(size, found + 1) if builder_for(arch).takes(arch, one)] == [found]
