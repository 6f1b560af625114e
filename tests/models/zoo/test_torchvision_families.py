"""Every family of the zoo taken apart: nothing lost, nothing twice, and the head receives what it always received."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from graft.core.compat.torchvision import models
from graft.core.errors import ConfigError
from graft.models.backbone import Network, Pool, cut
from graft.models.zoo.registry import TORCHVISION_BUILDER, build_network, builder_for, check_input_size
from graft.models.zoo.torchvision_families import FAMILIES, family_row

CLASSES = 33
# One small member of every row of torchvision's table, and of timm's.
SMALL = (
    "resnet18",
    "densenet121",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "convnext_tiny",
    "regnet_y_400mf",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "mnasnet0_5",
    "vgg11_bn",
    "alexnet",
    "swin_t",
    "googlenet",
    "inception_v3",
    "vit_b_32",
    "maxvit_t",
    "timm:tf_efficientnet_lite0",
    "timm:resnet18",
    "timm:convnext_atto",
    "timm:mobilenetv3_small_050",
)
EVERY = (*TORCHVISION_BUILDER.names(),)


def _size(arch: str) -> int:
    """The least side from 64 px on that the architecture takes."""
    step = builder_for(arch).step(arch)
    return -(-max(64, builder_for(arch).smallest(arch)) // step) * step


def _apart(arch: str) -> tuple[Any, Network, int]:
    builder = builder_for(arch)
    torch.manual_seed(0)
    model = builder.model(arch, _size(arch))
    return model, Network(builder.parts(arch, model), CLASSES), _size(arch)


def _head_of(model: Any) -> nn.Module:
    """The architecture's own head: its last module that multiplies."""
    return [module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]


def test_small_members_stand_for_every_row() -> None:
    rows = {family_row(arch) for arch in SMALL if not arch.startswith("timm:")}
    assert rows == set(FAMILIES)


def test_no_builder_of_a_classifier_is_left_out() -> None:
    """torchvision lists its builders by module: classifiers are those of its models' outermost one."""
    builders = models.list_models(module=models)
    assert [name for name in builders if family_row(name) is None] == []
    assert list(EVERY) == builders
    assert len(builders) == 80
    assert all(sum(name.startswith(row.prefixes) for row in FAMILIES) == 1 for name in builders)


def _check(arch: str) -> None:
    received: list[torch.Tensor] = []
    size = _size(arch)
    original = builder_for(arch).model(arch, size).eval()
    head = original.get_classifier() if arch.startswith("timm:") else _head_of(original)
    head.register_forward_pre_hook(lambda _, given: received.append(given[0]))
    network = Network(builder_for(arch).parts(arch, original), CLASSES).eval()
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    whole = getattr(original, "num_classes", 1) != 0  # a network kept as one block has lost its own head
    with torch.no_grad():
        features = network.features(images)
        pooled = list(network.pooled(images))
        if whole:
            original(images)
            wanted = received[0].mean(dim=(2, 3)) if received[0].ndim == 4 else received[0]
            torch.testing.assert_close(features, wanted)
    torch.testing.assert_close(pooled[-1], features)
    assert len(pooled) == len(network.blocks)
    assert all(part.ndim == 2 for part in pooled)
    _check_units(original, network, head)
    _check_learns(network, images)


def _check_units(original: nn.Module, network: Network, head: nn.Module) -> None:
    own_head = {id(parameter) for parameter in head.parameters()}
    own = [id(parameter) for parameter in original.parameters() if id(parameter) not in own_head]
    covered = [id(parameter) for unit in network.layer_groups() for module in unit for parameter in module.parameters()]
    assert sorted(covered) == sorted(own), "blocks must cover every parameter exactly once"


def _check_learns(network: Network, images: torch.Tensor) -> None:
    loss = nn.functional.cross_entropy(network(images), torch.tensor([0, CLASSES - 1]))
    # No bound on its value: with batch statistics that were never estimated, deep residual networks blow up.
    assert bool(torch.isfinite(loss))
    loss.backward()
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and bool(torch.isfinite(gradient).all()) for gradient in gradients)


@pytest.mark.parametrize("arch", SMALL)
def test_family(arch: str) -> None:
    _check(arch)


@pytest.mark.slow
@pytest.mark.parametrize("arch", EVERY)
def test_every_torchvision_classifier_of_the_table(arch: str) -> None:
    _check(arch)


@pytest.mark.parametrize("arch", ["resnet18", "swin_t", "vit_b_32", "inception_v3", "timm:tf_efficientnet_lite0"])
def test_a_cut_network_gives_the_pooled_output_of_its_last_block(arch: str) -> None:
    _, network, size = _apart(arch)
    network.eval()
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        pooled = list(network.pooled(images))
        for depth in range(len(pooled)):
            shorter = cut(network, depth, 5).eval()
            assert shorter.example is network.example
            torch.testing.assert_close(shorter.features(images), pooled[depth])
            assert shorter(images).shape == (2, 5)
            assert len(shorter.blocks) == depth + 1


def test_a_cut_network_is_rebuilt_from_its_name_and_depth() -> None:
    first = cut(build_network("resnet18", 4), 1, 3)
    second = build_network("resnet18", 3, depth=1)
    second.load_state_dict(first.state_dict())
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(first.eval()(images), second.eval()(images))


def test_no_such_block() -> None:
    with pytest.raises(ConfigError, match=r"there is no block 4 to cut after(?s:.*)blocks are 0 to 3"):
        build_network("resnet18", 3, depth=4)


def test_unknown_architecture_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown architecture 'resnet19'(?s:.*)did you mean 'resnet18'"):
        builder_for("resnet19")
    with pytest.raises(ConfigError, match=r"did you mean 'timm:tf_efficientnet_lite0'\?"):
        builder_for("tf_efficientnet_lite0")


@pytest.mark.parametrize("arch", ["googlenet", "inception_v3"])
def test_inception_sees_what_its_own_input_transform_would_give(arch: str) -> None:
    """The published model normalises twice; ours once, with the same outcome, and without auxiliary heads."""
    model, network, size = _apart(arch)
    preset = models.get_model_weights(arch).DEFAULT.transforms()
    images = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (preset.mean, preset.std))
    model.transform_input, model.fc = True, nn.Identity()
    with torch.no_grad():
        wanted = model.eval()((images.permute(0, 3, 1, 2) / 255 - mean) / std)
        own = builder_for(arch).preprocessing(arch, size).normalise(images)
        torch.testing.assert_close(own, model._transform_input((images.permute(0, 3, 1, 2) / 255 - mean) / std))
        torch.testing.assert_close(network.eval().features(own), wanted)
    assert isinstance(network.train()(own), torch.Tensor)


def test_tokens_are_pooled_by_their_mean() -> None:
    tokens = torch.arange(12.0).view(1, 3, 4)
    torch.testing.assert_close(Pool("NLC")(tokens), torch.tensor([[4.0, 5.0, 6.0, 7.0]]))


@pytest.mark.parametrize(
    ("arch", "size", "remedy"),
    [
        ("vit_b_16", 50, "its least size is 32 px, and every size is a multiple of 16 px: take 48 or 64 px"),
        ("vit_b_16", 16, "its least size is 32 px, and every size is a multiple of 16 px: take 32 or 48 px"),
        ("vit_h_14", 224 + 7, "its least size is 42 px, and every size is a multiple of 14 px: take 224 or 238 px"),
        ("maxvit_t", 64, "its least size is 224 px, and every size is a multiple of 224 px: take 224 or 448 px"),
        ("inception_v3", 64, "its least size is 75 px"),
    ],
)
def test_a_size_that_does_not_divide_is_refused(arch: str, size: int, remedy: str) -> None:
    with pytest.raises(ConfigError, match=f"{arch} cannot take images of {size} px") as raised:
        check_input_size(arch, size)
    assert raised.value.remedy == remedy


@pytest.mark.parametrize("arch", EVERY)
def test_published_size_is_one_it_can_take(arch: str) -> None:
    check_input_size(arch, builder_for(arch).preprocessing(arch, None).geometry.size)


def test_slow_batch_norm_is_quickened() -> None:
    """mobilenet_v3 publishes a momentum of 0.01, with which a short training leaves its statistics behind."""
    momenta = {
        module.momentum
        for module in build_network("mobilenet_v3_small", 2).modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    assert momenta == {0.1}
