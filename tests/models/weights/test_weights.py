"""Weights of every kind: what is loaded, what is refused, and what the refusal says."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from graft.core.errors import ConfigError, WeightsError
from graft.core.settings import Candidate
from graft.inference.artifact import Artifact, load_artifact, save_artifact
from graft.inference.pretrained import load_pretrained, preprocessing_of
from graft.models.backbone import Network, cut
from graft.models.weights.bundled import BUNDLED, bundled_file, map_by_order
from graft.models.weights.locate import WeightsContext, locate_weights, source_folder
from graft.models.weights.state_dict import read_state
from graft.models.zoo.registry import builder_for

SHARED = Path(__file__).parents[4] / "shared" / "data"
LITE0 = "timm:tf_efficientnet_lite0"


@pytest.fixture
def around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WeightsContext:
    """No network, and empty caches of torchvision's and timm's hubs."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    return WeightsContext(sources=tmp_path / "source", offline=True, seed=3)


def test_random_weights_come_from_the_seed(around: WeightsContext) -> None:
    first = load_pretrained(Candidate("squeezenet1_1", "none"), around).network.state_dict()
    again = load_pretrained(Candidate("squeezenet1_1", "none"), around).network.state_dict()
    elsewhere = WeightsContext(around.sources, True, seed=4)
    other = load_pretrained(Candidate("squeezenet1_1", "none"), elsewhere).network.state_dict()
    key = next(iter(first))
    assert torch.equal(first[key], again[key])
    assert not torch.equal(first[key], other[key])


def test_a_size_too_small_is_refused_before_any_work(around: WeightsContext) -> None:
    with pytest.raises(ConfigError, match=r"resnet18 cannot take images of 8 px") as raised:
        locate_weights(Candidate("resnet18", "none", size=8), around)
    assert raised.value.remedy == "its least size is 32 px"


def test_missing_torchvision_weights_say_where_to_put_them(around: WeightsContext, tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        locate_weights(Candidate("resnet18", "DEFAULT"), around)
    message = str(caught.value)
    assert "resnet18-f37072fd.pth are not on this machine, and downloads are switched off" in message
    assert str(tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth") in message
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in message


def test_missing_timm_weights_say_where_to_put_them(around: WeightsContext) -> None:
    with pytest.raises(WeightsError, match=r"model.safetensors are not on this machine(?s:.*)models--timm--resnet18"):
        locate_weights(Candidate("timm:resnet18", "pretrained"), around)


def test_offline_by_environment(around: WeightsContext, monkeypatch: pytest.MonkeyPatch) -> None:
    online = WeightsContext(around.sources, offline=False, seed=0)
    assert online.may_download
    monkeypatch.setenv("GRAFT_OFFLINE", "1")
    assert not online.may_download


def test_unknown_weights_name(around: WeightsContext) -> None:
    with pytest.raises(
        WeightsError, match=r"resnet18 has no weights named 'IMAGENET1K_V7'(?s:.*)did you mean 'IMAGENET1K_V1'"
    ):
        locate_weights(Candidate("resnet18", "IMAGENET1K_V7"), around)


def test_local_file_that_is_not_there(around: WeightsContext) -> None:
    with pytest.raises(WeightsError, match=r"the weights file is not there\n  where: .*nowhere\.pth"):
        locate_weights(Candidate("resnet18", "nowhere.pth"), around)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_local_file_with_a_head_of_other_classes(
    around: WeightsContext, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = builder_for("resnet18").model("resnet18")
    model.fc = torch.nn.Linear(512, 7)
    file = tmp_path / f"mine{suffix}"
    save = save_file if suffix == ".safetensors" else torch.save
    save(model.state_dict(), file)
    network = load_pretrained(Candidate("resnet18", str(file)), around).network
    assert torch.equal(network.state_dict()["blocks.3.0.conv1.weight"], model.layer4[0].conv1.weight)
    assert capsys.readouterr().err == (
        f"mine{suffix}: its head of 7 classes is left out (fc.bias, fc.weight; this architecture's own has 1000), "
        "all else is loaded\n"
    )


def test_a_head_that_fits_is_not_spoken_of(
    around: WeightsContext, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file(builder_for("resnet18").model("resnet18").state_dict(), file := tmp_path / "same.safetensors")
    load_pretrained(Candidate("resnet18", str(file)), around)
    assert capsys.readouterr().err == ""


def test_a_head_of_timm_with_other_classes(
    around: WeightsContext, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """timm says which tensors are the head's: the last module of a network without one is none."""
    arch = "timm:test_vit"
    model = builder_for(arch).model(arch)
    model.reset_classifier(7)
    save_file(model.state_dict(), file := tmp_path / "mine.safetensors")
    load_pretrained(Candidate(arch, str(file)), around)
    assert "its head of 7 classes is left out (head.bias, head.weight;" in capsys.readouterr().err
    state = model.state_dict()
    del state["norm.bias"]
    save_file(state, file)
    with pytest.raises(WeightsError, match=r"norm\.bias is missing"):
        load_pretrained(Candidate(arch, str(file)), around)


def test_weights_of_another_architecture_name_the_first_keys(around: WeightsContext, tmp_path: Path) -> None:
    file = tmp_path / "resnet18.safetensors"
    save_file(builder_for("resnet18").model("resnet18").state_dict(), file)
    with pytest.raises(
        WeightsError, match=r"not this architecture's: layer1\.2\.conv1\.weight is missing;(?s:.*)and \d+ more"
    ):
        load_pretrained(Candidate("resnet34", str(file)), around)


def _published(
    state: dict[str, torch.Tensor], renamed: dict[str, str], extra: tuple[str, ...]
) -> dict[str, torch.Tensor]:
    """A state dict as torchvision's old files have it: other names, no counts of batches, auxiliary heads."""
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    for now, then in renamed.items():
        old = {key.replace(now, then): value for key, value in old.items()}
    return {**old, **{key: torch.ones(1) for key in extra}}


@pytest.mark.parametrize(
    ("arch", "renamed", "extra"),
    [
        ("squeezenet1_1", {}, ()),
        ("mnasnet0_5", {}, ()),
        (
            "densenet121",
            {".norm1.": ".norm.1.", ".conv2.": ".conv.2.", ".norm2.": ".norm.2.", ".conv1.": ".conv.1."},
            (),
        ),
        ("vit_b_32", {".mlp.0.": ".mlp.linear_1.", ".mlp.3.": ".mlp.linear_2."}, ()),
        ("googlenet", {}, ("aux1.fc1.weight", "aux2.conv.bn.bias")),
        ("inception_v3", {}, ("AuxLogits.fc.weight",)),
    ],
)
def test_files_as_torchvision_published_them(
    around: WeightsContext, tmp_path: Path, arch: str, renamed: dict[str, str], extra: tuple[str, ...]
) -> None:
    model = builder_for(arch).model(arch)
    file = tmp_path / "old.pth"
    torch.save(_published(model.state_dict(), renamed, extra), file)
    network = load_pretrained(Candidate(arch, str(file)), around).network
    wanted = Network(builder_for(arch).parts(arch, model), 1).state_dict()
    for key, value in network.state_dict().items():
        assert key.startswith("head.") or torch.equal(value, wanted[key]), key


def test_positions_are_fitted_to_the_size(around: WeightsContext, tmp_path: Path) -> None:
    """A ramp stays a ramp with the same ends, and the class token keeps its own."""
    arch = "vit_b_32"
    state = builder_for(arch).model(arch, 224).state_dict()
    ramp = torch.linspace(0, 1, 7).repeat(7)  # by column, row after row
    state["encoder.pos_embedding"] = torch.cat([torch.tensor([5.0]), ramp]).view(1, 50, 1).repeat(1, 1, 768)
    save_file(state, file := tmp_path / "vit.safetensors")
    found = load_pretrained(Candidate(arch, str(file), size=416), around)
    positions = found.network.state_dict()["blocks.0.0.pos_embedding"]
    assert positions.shape == (1, 1 + 13 * 13, 768)
    assert torch.all(positions[0, 0] == 5.0)
    grid = positions[0, 1:, 0].view(13, 13)
    torch.testing.assert_close(grid, torch.linspace(0, 1, 13).expand(13, 13), atol=0.02, rtol=0)
    torch.testing.assert_close(grid[:, ::2], ramp.view(7, 7)[0].expand(13, 7))


def test_positions_that_are_no_square_are_refused(around: WeightsContext, tmp_path: Path) -> None:
    state = builder_for("vit_b_32").model("vit_b_32", 64).state_dict()
    state["encoder.pos_embedding"] = torch.zeros(1, 8, 768)
    save_file(state, file := tmp_path / "vit.safetensors")
    with pytest.raises(WeightsError, match=r"encoder\.pos_embedding \(1, 8, 768\) is not \(1, 5, 768\)"):
        load_pretrained(Candidate("vit_b_32", str(file), size=64), around)


def test_a_network_of_another_size_is_read_again(tmp_path: Path) -> None:
    builder = builder_for("vit_b_32")
    network = cut(Network(builder.build("vit_b_32", 64), 3), 1, 3).eval()
    artifact = Artifact(("a", "b", "c"), "vit_b_32", "none", 1, builder.preprocessing("vit_b_32", 64))
    save_artifact(tmp_path / "model", artifact, network)
    _, again = load_artifact(tmp_path / "model")
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(images), network(images))


def test_only_the_last_layer_is_a_head(around: WeightsContext, tmp_path: Path) -> None:
    """MaxViT's head has no bias, so that the last but one tensor belongs to the network."""
    state = builder_for("maxvit_t").model("maxvit_t").state_dict()
    state["classifier.5.weight"] = torch.zeros(7, 512)
    save_file(state, file := tmp_path / "maxvit.safetensors")
    load_pretrained(Candidate("maxvit_t", str(file)), around)
    del state["classifier.3.bias"]
    save_file(state, file)
    with pytest.raises(WeightsError, match=r"classifier\.3\.bias is missing"):
        load_pretrained(Candidate("maxvit_t", str(file)), around)


def test_preprocessing_is_that_of_the_weights_named(around: WeightsContext) -> None:
    """vit_b_16 has weights for 224 px and for 384 px, with other interpolations."""
    own = preprocessing_of(Candidate("vit_b_16", "DEFAULT"), around).geometry
    swag = preprocessing_of(Candidate("vit_b_16", "IMAGENET1K_SWAG_E2E_V1"), around).geometry
    assert (own.size, own.crop, own.interpolation) == (224, 224 / 256, "bilinear")
    assert (swag.size, swag.crop, swag.interpolation) == (384, 1.0, "bicubic")


class _Planted:
    """What a hostile file would hold: unpickling it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def test_a_file_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    file, mark = tmp_path / "hostile.pth", tmp_path / "ran"
    torch.save({"x": _Planted(mark)}, file)
    with pytest.raises(WeightsError, match="holds more than tensors and is refused"):
        read_state(file)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["damaged.safetensors", "damaged.pth"])
def test_a_damaged_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not weights")
    with pytest.raises(WeightsError, match="weights file"):
        read_state(tmp_path / name)


def test_bundled_only_where_there_are_some(around: WeightsContext) -> None:
    with pytest.raises(WeightsError, match=r"no bundled weights for 'resnet18'(?s:.*)tf_efficientnet_lite0"):
        locate_weights(Candidate("resnet18", "bundled"), around)


def test_map_by_order_checks_every_shape() -> None:
    given = {"a": torch.zeros(2, 3), "b": torch.ones(4)}
    assert list(map_by_order(given, {"x": torch.zeros(2, 3), "y": torch.zeros(4)}, Path("f"))) == ["x", "y"]
    with pytest.raises(WeightsError, match=r"tensor 'b' of shape \(4,\) does not fit 'y' of \(5,\)"):
        map_by_order(given, {"x": torch.zeros(2, 3), "y": torch.zeros(5)}, Path("f"))
    with pytest.raises(WeightsError, match="holds 2 tensors where 1 are needed"):
        map_by_order(given, {"x": torch.zeros(2, 3)}, Path("f"))


def _hits(arch: str, change: Callable[[dict[str, torch.Tensor]], None], each: int) -> float:
    """Share of photographs of ants and bees that bundled weights name rightly, once ``change`` was made to them."""
    if not (SHARED / "hymenoptera").is_dir():
        pytest.skip("needs ../shared/data/hymenoptera")
    from graft.modalities.image.decode import decode

    model = builder_for(arch).model(arch).eval()
    state = map_by_order(read_state(bundled_file(arch)), model.state_dict(), bundled_file(arch))
    change(state)
    model.load_state_dict(state)
    preprocessing = builder_for(arch).preprocessing(arch, None)
    hits = []
    for folder, label in (("ants", 310), ("bees", 309)):  # ImageNet's class indices
        for path in sorted((SHARED / "hymenoptera" / "val" / folder).iterdir())[:each]:
            image = torch.from_numpy(preprocessing.geometry.apply(decode(path))[None])
            with torch.no_grad():
                hits.append(int(model(preprocessing.normalise(image)).argmax()) == label)
    return float(np.mean(hits))


@pytest.mark.parametrize("arch", BUNDLED)
def test_bundled_weights_know_ants_and_bees(arch: str) -> None:
    """Shapes that fit prove nothing: the weights are right if they name what is in photographs.

    Of 120 photographs, 83 %, 88 % and 88 % are named rightly, among 1,000 classes.
    """
    assert _hits(arch, lambda state: None, each=8) >= 0.7


def test_two_tensors_in_each_others_place_are_noticed() -> None:
    """What a change of order within one shape would do, and no check of shapes could see."""

    def swap(state: dict[str, torch.Tensor]) -> None:
        alike = [key for key in state if key.startswith("blocks.1.") and key.endswith(("running_mean", "running_var"))]
        first = alike[0]
        other = next(key for key in alike[1:] if state[key].shape == state[first].shape)
        state[first], state[other] = state[other], state[first]

    assert _hits(LITE0, swap, each=8) < 0.5


def test_bundled_weights_that_were_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / bundled_file(LITE0).name
    copy.write_bytes(bundled_file(LITE0).read_bytes()[:-1])
    locator = SimpleNamespace(get_model_file_path=lambda: str(copy))
    package = importlib.import_module(BUNDLED[LITE0].module)
    monkeypatch.setattr(package, BUNDLED[LITE0].locator, locator)
    with pytest.raises(WeightsError, match=r"the bundled weights are damaged(?s:.*)--force-reinstall"):
        bundled_file(LITE0)


def test_source_model_is_found_and_brings_its_preprocessing(around: WeightsContext) -> None:
    candidate = Candidate("squeezenet1_1", "source", size=32)
    builder = builder_for("squeezenet1_1")
    network = Network(builder.build("squeezenet1_1"), 4)
    artifact = Artifact(("a", "b", "c", "d"), "squeezenet1_1", "none", None, builder.preprocessing("squeezenet1_1", 32))
    save_artifact(source_folder(around.sources, candidate), artifact, network)
    found = load_pretrained(candidate, around)
    assert found.preprocessing.geometry.size == 32
    assert torch.equal(found.network.head.weight, network.head.weight)


def test_source_model_that_is_missing(around: WeightsContext) -> None:
    with pytest.raises(WeightsError, match="there is no model here"):
        load_pretrained(Candidate("squeezenet1_1", "source", size=32), around)
