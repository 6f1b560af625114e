"""One member of each of timm's families taken apart along timm's own metadata, and what becomes of their sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from graft.core.compat.torchvision import models  # the guard: timm imports torchvision
from graft.core.errors import ConfigError
from graft.core.settings import Candidate
from graft.inference.pretrained import load_pretrained
from graft.models.backbone import Network, cut
from graft.models.weights.locate import WeightsContext
from graft.models.zoo.registry import builder_for, check_input_size
from graft.models.zoo.timm_builder import TimmBuilder

assert models
CLASSES = 33
# timm's module of architectures -> its smallest member, and a small side that it takes, px.
MEMBERS = {
    "byoanet": ("halonet_h1", 256),
    "byobnet": ("test_byobnet", 64),
    "cait": ("cait_xxs24_224", 64),
    "coat": ("coat_tiny", 64),
    "convit": ("convit_tiny", 64),
    "convmixer": ("convmixer_768_32", 64),
    "convnext": ("test_convnext", 64),
    "cpubone": ("cpubone_nano", 64),
    "crossvit": ("crossvit_tiny_240", 240),
    "csatv2": ("csatv2", 64),
    "cspnet": ("cs3darknet_focus_s", 64),
    "cspnext": ("cspnext_tiny", 64),
    "davit": ("davit_tiny", 64),
    "deit": ("deit_tiny_patch16_224", 64),
    "densenet": ("densenet121", 64),
    "dla": ("dla46x_c", 64),
    "dpn": ("dpn48b", 64),
    "edgenext": ("edgenext_xx_small", 64),
    "efficientformer": ("efficientformer_l1", 224),
    "efficientformer_v2": ("efficientformerv2_s0", 64),
    "efficientnet": ("test_efficientnet", 64),
    "efficientvim": ("efficientvim_m1", 64),
    "efficientvit_mit": ("efficientvit_b0", 64),
    "efficientvit_msra": ("efficientvit_m0", 224),
    "eva": ("vit_tiny_patch16_dinov3_qkvb", 64),
    "fasternet": ("fasternet_t0", 64),
    "fastvit": ("fastvit_t8", 64),
    "focalnet": ("focalnet_tiny_srf", 64),
    "gcvit": ("gcvit_xxtiny", 64),
    "ghostnet": ("ghostnet_050", 64),
    "hardcorenas": ("hardcorenas_b", 64),
    "hgnet": ("hgnetv2_b0", 64),
    "hiera": ("hiera_tiny_224", 64),
    "hieradet_sam2": ("sam2_hiera_tiny", 64),
    "hrnet": ("hrnet_w18_small", 64),
    "iformer": ("iformer_t", 64),
    "inception_next": ("inception_next_atto", 64),
    "inception_v3": ("inception_v3", 96),
    "inception_v4": ("inception_v4", 96),
    "lcnetv2": ("lcnetv2_small", 64),
    "levit": ("levit_128s", 64),
    "lowformer": ("lowformer_b0", 64),
    "mambaout": ("test_mambaout", 64),
    "maxxvit": ("test_coatnet", 64),
    "metaformer": ("poolformerv2_s12", 64),
    "mlp_mixer": ("gmlp_ti16_224", 64),
    "mobilenetv3": ("mobilenetv3_small_050", 64),
    "mobilevit": ("mobilevit_xxs", 64),
    "mvitv2": ("mvitv2_tiny", 64),
    "nest": ("nest_tiny", 64),
    "nextvit": ("nextvit_small", 64),
    "nfnet": ("test_nfnet", 64),
    "pit": ("pit_ti_224", 64),
    "pvt_v2": ("pvt_v2_b0", 224),
    "rdnet": ("rdnet_tiny", 64),
    "regnet": ("regnetx_002", 64),
    "repghost": ("repghostnet_050", 64),
    "repvit": ("repvit_m1", 64),
    "res2net": ("res2next50", 64),
    "resnest": ("resnest14d", 64),
    "resnet": ("test_resnet", 64),
    "resnetv2": ("resnetv2_18", 64),
    "rexnet": ("rexnet_100", 64),
    "selecsls": ("selecsls42", 64),
    "senet": ("legacy_seresnet18", 64),
    "sequencer": ("sequencer2d_s", 64),
    "shvit": ("shvit_s1", 64),
    "sknet": ("skresnet18", 64),
    "starnet": ("starnet_s050", 64),
    "swiftformer": ("swiftformer_xs", 64),
    "swin_transformer": ("swin_tiny_patch4_window7_224", 64),
    "swin_transformer_v2": ("swinv2_tiny_window8_256", 64),
    "swin_transformer_v2_cr": ("swinv2_cr_tiny_224", 64),
    "tiny_vit": ("tiny_vit_5m_224", 64),
    "tnt": ("tnt_s_legacy_patch16_224", 64),
    "tresnet": ("tresnet_m", 64),
    "twins": ("twins_svt_small", 64),
    "visformer": ("visformer_tiny", 64),
    "vision_transformer": ("test_vit", 64),
    "vision_transformer_hybrid": ("vit_tiny_r_s16_p8_224", 64),
    "vision_transformer_relpos": ("test_vit_relpos", 64),
    "vitamin": ("vitamin_small_224", 64),
    "volo": ("volo_d1_224", 64),
    "vovnet": ("ese_vovnet19b_slim_dw", 64),
    "xception": ("legacy_xception", 64),
    "xception_aligned": ("xception41p", 64),
    "xcit": ("xcit_nano_12_p8_224", 224),
}
TOO_LARGE = {
    "nasnet",
    "vgg",
    "mobilenetv5",
    "inception_resnet_v2",
    "naflexvit",
    "gemma4_vit",
    "qwen3_vit",
    "pnasnet",
    "vision_transformer_sam",
    "beit",
    "deepseek_vit",
}  # no member below 200 MB
FAST = ("resnet", "efficientnet", "convnext", "vision_transformer", "mambaout", "maxxvit", "metaformer", "starnet")
# Several branches side by side, or code that no tracing goes through.
ONE_BLOCK = {"coat", "crossvit", "efficientvim", "hrnet", "pit", "tnt", "twins"}


def test_every_family_of_timm_has_a_member_here() -> None:
    import timm

    assert set(MEMBERS) | TOO_LARGE == set(timm.list_modules())
    assert all(arch in timm.list_models(module=module) for module, (arch, _) in MEMBERS.items())


def _check(family: str) -> None:
    name, side = MEMBERS[family]
    arch, builder = f"timm:{name}", TimmBuilder()
    torch.manual_seed(0)
    model = builder.model(arch, side).eval()
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        wanted = model.forward_head(model.forward_features(images), pre_logits=True).flatten(1)
        logits = model(images)
    used = _used(model, images)
    network = Network(builder.parts(arch, model, side), CLASSES).eval()
    assert (len(network.blocks) == 1) == (family in ONE_BLOCK)
    with torch.no_grad():
        torch.testing.assert_close(network.features(images), wanted)
        pooled = list(network.pooled(images))
        _check_inputs_are_left_alone(network, images)
    assert network(images).shape == (2, CLASSES) != logits.shape
    assert len(pooled) == len(network.blocks)
    assert all(part.ndim == 2 and len(part) == 2 for part in pooled)
    covered = [id(parameter) for unit in network.layer_groups() for part in unit for parameter in part.parameters()]
    assert len(covered) == len(set(covered)), "a parameter lies in two blocks"
    assert used <= set(covered), "a parameter that the features need lies in no block"
    _check_learns(network, images, used)


def _check_inputs_are_left_alone(network: Network, images: torch.Tensor) -> None:
    """Activations are kept and used again, so a block may not write into what it is given."""
    x = images
    for block in (*network.blocks, network.neck):
        before = x.clone()
        after = block(x)
        assert torch.equal(x, before), f"{block} writes into its input"
        x = after.clone()


def _used(model: Any, images: torch.Tensor) -> set[int]:
    """The parameters that the feature vector depends on, by following its gradient."""
    model.forward_head(model.forward_features(images), pre_logits=True).sum().backward()
    used = {id(parameter) for parameter in model.parameters() if parameter.grad is not None}
    model.zero_grad()
    return used


def _check_learns(network: Network, images: torch.Tensor, used: set[int]) -> None:
    nn.functional.cross_entropy(network(images), torch.tensor([0, CLASSES - 1])).backward()
    for name, parameter in network.named_parameters():
        if id(parameter) in used or name.startswith("head."):
            assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), name


@pytest.mark.parametrize("family", FAST)
def test_family(family: str) -> None:
    _check(family)


@pytest.mark.slow
@pytest.mark.parametrize("family", [family for family in MEMBERS if family not in FAST])
def test_every_family_of_timm(family: str) -> None:
    _check(family)


@pytest.mark.parametrize(
    ("name", "size", "remedy"),
    [
        (
            "vit_tiny_patch16_224",
            50,
            "its least size is 32 px, and every size is a multiple of 16 px: take 48 or 64 px",
        ),
        ("test_coatnet", 40, "its least size is 63 px"),
        (
            "efficientvit_m0",
            64,
            "its least size is 224 px, and every size is a multiple of 224 px: take 224 or 448 px",
        ),
    ],
)
def test_an_impossible_size_is_refused_before_any_work(name: str, size: int, remedy: str) -> None:
    with pytest.raises(ConfigError, match=f"timm:{name} cannot take images of {size} px") as raised:
        check_input_size(f"timm:{name}", size)
    assert raised.value.remedy == remedy


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "swin_tiny_patch4_window7_224"])
def test_possible_sizes(name: str) -> None:
    check_input_size(f"timm:{name}", 64)
    check_input_size(f"timm:{name}", None)


def test_positions_are_fitted_to_the_size_by_timm(tmp_path: Path) -> None:
    """A ramp stays a ramp, and the class token keeps its own."""
    arch = "timm:vit_tiny_patch16_224"
    state = builder_for(arch).model(arch).state_dict()
    ramp = torch.linspace(0, 1, 14).repeat(14)  # by column, row after row
    state["pos_embed"] = torch.cat([torch.tensor([5.0]), ramp]).view(1, 197, 1).repeat(1, 1, 192)
    save_file(state, file := tmp_path / "vit.safetensors")
    model = builder_for(arch).model(arch, 96)
    positions = builder_for(arch).translate(arch, model, state)["pos_embed"]
    assert positions.shape == (1, 1 + 6 * 6, 192)
    assert torch.all(positions[0, 0] == 5.0)
    grid = positions[0, 1:, 0].view(6, 6)
    torch.testing.assert_close(grid, (torch.arange(6) + 0.5).div(6).expand(6, 6), atol=0.05, rtol=0)
    found = load_pretrained(Candidate(arch, str(file), size=96), WeightsContext(tmp_path, offline=True, seed=0)).network
    assert any(torch.equal(value, positions) for value in found.state_dict().values())


def test_a_network_cut_anywhere_is_read_again_and_leaves_its_input_alone() -> None:
    """Cut after each block, it gives that block's pooled output; and no block writes into what it is given."""
    arch = "timm:test_vit"
    first, second = (Network(TimmBuilder().build(arch), 4).eval() for _ in range(2))
    second.load_state_dict(first.state_dict())
    images = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        pooled = list(first.pooled(images))
        for depth in range(len(pooled)):
            torch.testing.assert_close(cut(second, depth, 2).eval().features(images), pooled[depth])
