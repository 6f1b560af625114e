"""What a network costs, counted: the same as torchvision publishes for it."""

from __future__ import annotations

import pytest
import torch

from graft.core.compat.torchvision import models
from graft.models.backbone import blank_image, cut
from graft.models.flops import cost_of, costs_by_depth
from graft.models.zoo.registry import build_network


@pytest.mark.parametrize("arch", ["squeezenet1_1", "googlenet", "swin_t", "vit_b_32"])
def test_counted_as_published(arch: str) -> None:
    """Fused attention is invisible to PyTorch's counter, which would leave out a third of a ViT."""
    weights = models.get_model_weights(arch).DEFAULT
    fast = torch.backends.mha.get_fastpath_enabled()
    cost = cost_of(build_network(arch, 1000), blank_image(weights.transforms().crop_size[0]))
    # SqueezeNet's own head is a convolution over every position; ours looks at their mean.
    head = 0.087 if arch.startswith("squeezenet") else 0.0
    assert cost.gmacs + head == pytest.approx(weights.meta["_ops"], abs=0.002)
    assert cost.params_m == pytest.approx(weights.meta["num_params"] / 1e6, rel=1e-6)
    assert torch.backends.mha.get_fastpath_enabled() == fast


@pytest.mark.parametrize("arch", ["resnet18", "googlenet", "swin_t", "vit_b_32", "timm:tf_efficientnet_lite0"])
def test_one_pass_tells_what_each_cut_costs(arch: str) -> None:
    network = build_network(arch, 7)
    found = costs_by_depth(network, blank_image(224), 3)
    assert len(found) == len(network.blocks)
    for depth in {0, len(found) // 2, len(found) - 1}:
        alone = cost_of(cut(network, depth, 3), blank_image(224))
        assert found[depth].params_m == pytest.approx(alone.params_m, rel=1e-12)
        assert found[depth].gmacs == pytest.approx(alone.gmacs, rel=1e-12)
