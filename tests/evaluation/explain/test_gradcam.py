"""Where a network looked: on the planted object, in every family, with one road for maps, windows and tokens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from graft.core.compat.torchvision import models
from graft.evaluation.explain.gradcam import GradCam, grad_cam, target_block
from graft.inference.artifact import Artifact
from graft.inference.predictor import Predictor
from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor
from graft.models.backbone import BackboneParts, Network, Pool, cut
from graft.models.zoo.registry import build_network
from graft.models.zoo.torchvision_families import family_row

SIDE = 64
HALF = SIDE // 2
PATCH = 16


def _predictor(network: Network, classes: int = 2, size: int = SIDE) -> Predictor:
    preprocessing = ImagePreprocessor(Geometry(size, 1.0, "bilinear"), (0.5,) * 3, (0.5,) * 3)
    names = tuple(f"class {i}" for i in range(classes))
    return Predictor(Artifact(names, "planted", "none", None, preprocessing), network.eval())


def _planted(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise with one square in one quadrant, red (class 0) or blue (class 1): images, classes, quadrants 0 to 3."""
    images = rng.integers(60, 120, (n, SIDE, SIDE, 3), dtype=np.uint8)
    labels, quadrants = rng.integers(0, 2, n), rng.integers(0, 4, n)
    for image, label, quadrant in zip(images, labels, quadrants, strict=True):
        top, left = (8 + HALF * (quadrant // 2), 8 + HALF * (quadrant % 2))
        image[top : top + PATCH, left : left + PATCH] = (255, 0, 0) if label == 0 else (0, 0, 255)
    return images, labels, quadrants


class _Colours(nn.Module):
    """Images -> a map of 8 x 8 places with two channels: how red, and how blue, a place is."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.tensor([[1.0, 0, -1.0], [-1.0, 0, 1.0]])[:, :, None, None].repeat(1, 1, 8, 8) / 64
        self.weight = nn.Parameter(weight)

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.conv2d(images, self.weight, stride=8).relu()


class _Tokens(nn.Module):
    """A map -> tokens, the class token first; it knows nothing of the image yet."""

    def forward(self, x: Tensor) -> Tensor:
        patches = x.flatten(2).transpose(1, 2)
        return torch.cat([torch.ones_like(patches[:, :1]), patches], dim=1)


class _Gather(nn.Module):
    """A ViT's last block in small: the class token takes the patches in; they stay as they are."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x[:, :1] + x[:, 1:].mean(dim=1, keepdim=True), x[:, 1:]], dim=1)


class _First(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


class _ChannelsLast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


def _seeing(kind: str) -> Network:
    """A network that names the colour of the square and is blind for all else, in the shape of a family."""
    shapes = {
        "cnn": BackboneParts((_Colours(), nn.ReLU()), Pool("NCHW"), 2, "NCHW"),
        "swin": BackboneParts((nn.Sequential(_Colours(), _ChannelsLast()), nn.ReLU()), Pool("NHWC"), 2, "NHWC"),
        "vit": BackboneParts((nn.Sequential(_Colours(), _Tokens()), nn.Identity(), _Gather()), _First(), 2, "NLC"),
        "cut": BackboneParts((_Colours(), nn.ReLU(), nn.AdaptiveAvgPool2d(1)), Pool("NCHW"), 2, "NCHW"),
    }
    network = Network(shapes[kind], 2)
    network = cut(network, 1, 2) if kind == "cut" else network
    with torch.no_grad():
        network.head.weight.copy_(100 * torch.eye(2))
        network.head.bias.zero_()
    return network


@pytest.mark.parametrize(("kind", "block"), [("cnn", 1), ("cut", 1), ("swin", 1), ("vit", 1)])
def test_the_map_is_where_the_planted_object_is(kind: str, block: int) -> None:
    images, labels, quadrants = _planted(np.random.default_rng(1), 24)
    predictor = _predictor(_seeing(kind))
    assert (predictor.predict_batch(list(images)).outputs.argmax(axis=1) == labels).all()
    attention = GradCam.of(predictor, images[0])
    assert attention.block == block and "Grad-CAM" in attention.method
    hits = [_quadrant(attention.look(image, label)) for image, label in zip(images, labels.tolist(), strict=True)]
    assert hits == quadrants.tolist()


def test_a_network_without_maps_has_none() -> None:
    images, _, _ = _planted(np.random.default_rng(1), 1)
    attention = GradCam.of(_predictor(_redness()), images[0])
    assert attention.block is None and "no map" in attention.method
    assert attention.look(images[0], 0) is None


def _quadrant(heat: np.ndarray | None) -> int:
    """The quadrant with most heat; -1 where there is none."""
    if heat is None:
        return -1
    assert heat.shape == (SIDE, SIDE) and heat.min() >= 0 and heat.max() == 1
    sums = [heat[top : top + HALF, left : left + HALF].sum() for top in (0, HALF) for left in (0, HALF)]
    return int(np.argmax(sums))


class _Redness(nn.Module):
    """How red, and how blue, the image is as a whole."""

    def forward(self, x: Tensor) -> Tensor:
        gap = (x[:, 0] - x[:, 2]).flatten(1)
        return torch.stack([(gap - 1).relu().mean(dim=1), (-gap - 1).relu().mean(dim=1)], dim=1)


def _redness() -> Network:
    network = Network(BackboneParts((_Redness(),), nn.Identity(), 2, "NC"), 2)
    with torch.no_grad():
        network.head.weight.copy_(20 * torch.eye(2))
        network.head.bias.zero_()
    return network


def test_grad_cam_is_its_formula() -> None:
    """One channel is what is red, the other what is blue; the head weighs them 1 and -2 for class 0."""
    first = nn.Conv2d(3, 2, 1, bias=False)
    network = Network(BackboneParts((first,), Pool("NCHW"), 2, "NCHW"), 2).eval()
    with torch.no_grad():
        first.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 0, 1.0]])[:, :, None, None])
        network.head.weight.copy_(torch.tensor([[1.0, -2.0], [0.0, 1.0]]))
    images = torch.rand(1, 3, 8, 8)
    # The slope of a mean over 64 places is the head's weight / 64, everywhere.
    wanted = (images[0, 0] - 2 * images[0, 2]).clamp(min=0) / 64
    torch.testing.assert_close(grad_cam(network, images, 0, 0), wanted)


def test_where_nothing_speaks_for_the_answer_there_is_no_map() -> None:
    network = Network(BackboneParts((nn.Conv2d(3, 4, 1),), Pool("NCHW"), 4, "NCHW"), 2)
    nn.init.zeros_(network.head.weight)
    attention = GradCam(_predictor(network), 0)
    assert attention.look(np.zeros((SIDE, SIDE, 3), np.uint8), 0) is None


def _small(family: str) -> Network:
    """A small member of a family, taken apart by the family's own function."""
    if family == "vit_b_16":
        model = models.VisionTransformer(SIDE, 8, num_layers=3, num_heads=2, hidden_dim=32, mlp_dim=64)
    else:
        model = models.SwinTransformer([4, 4], 16, [1, 1, 1, 1], [1, 2, 2, 4], window_size=[4, 4])
    row = family_row(family)
    assert row is not None
    return Network(row.take_apart(model), 2)


# At 64 px the maps of a Swin have 16, 8, 4 and 2 places a side; of a ViT's blocks 0 to 2 the last is too late.
@pytest.mark.parametrize(("family", "block"), [("vit_b_16", 1), ("swin_t", 2)])
def test_transformers_are_read_where_their_patches_still_count(family: str, block: int) -> None:
    torch.manual_seed(0)
    network, images = _small(family).eval(), torch.randn(1, 3, SIDE, SIDE)
    assert target_block(network, images) == block
    found = grad_cam(network, images, 1, block)
    assert found.shape == (SIDE, SIDE) and bool(torch.isfinite(found).all())


@pytest.mark.parametrize(
    ("arch", "size", "depth", "block"),
    [
        # 32 px: maps of 8, 4, 2 and 1 places a side.
        ("resnet18", 32, None, 1),
        ("shufflenet_v2_x0_5", 128, None, 3),
        ("resnet18", 32, 0, 0),
        ("mobilenet_v3_small", 64, None, 8),
        pytest.param("swin_t", 128, None, 3, marks=pytest.mark.slow),
        # After the last block only the class token counts.
        pytest.param("vit_b_16", 64, None, 10, marks=pytest.mark.slow),
        pytest.param("maxvit_t", 224, None, 3, marks=pytest.mark.slow),
        pytest.param("timm:resnet10t", 128, None, 3, marks=pytest.mark.slow),
        pytest.param("timm:regnetx_002", 64, None, 2, marks=pytest.mark.slow),
        # Branches run side by side: one block, without a map of its own.
        pytest.param("timm:hrnet_w18_small", 64, None, None, marks=pytest.mark.slow),
    ],
)
def test_every_family_is_read_at_the_last_map_that_tells_places_apart(
    arch: str, size: int, depth: int | None, block: int | None
) -> None:
    torch.manual_seed(0)
    network = build_network(arch, 3, depth, size).eval()
    images = torch.randn(1, 3, size, size)
    assert target_block(network, images) == block
    if block is not None:
        assert grad_cam(network, images, 1, block).shape == (size, size)


def test_looking_changes_nothing(planted_state: Callable[[Network], list[Tensor]]) -> None:
    network = build_network("shufflenet_v2_x0_5", 2)
    predictor = _predictor(network)
    before = planted_state(network)
    pixels = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), dtype=np.uint8)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    GradCam.of(predictor, pixels).look(pixels, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, planted_state(network), strict=True))
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.fixture
def planted_state() -> Callable[[Network], list[Tensor]]:
    return lambda network: [value.clone() for value in network.state_dict().values()]
