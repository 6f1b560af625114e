"""Published weights against a hub on loopback: downloaded once, into the caches of torch.hub and huggingface_hub."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import save

from graft.cli.weights import fetch_weights
from graft.core.compat.torchvision import models
from graft.core.errors import ConfigError, WeightsError
from graft.core.settings import Candidate
from graft.inference.pretrained import load_pretrained
from graft.models.weights.bundled import bundled_file
from graft.models.weights.locate import WeightsContext, locate_weights
from graft.models.zoo.registry import TORCHVISION_BUILDER, builder_for
from tests.models.weights.hub import Hub, serving

ARCH, TIMM_ARCH = "squeezenet1_1", "timm:test_resnet"
REPOSITORY = "timm/test_resnet.r160_in1k"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Squeezenet as torchvision publishes it, and timm's smallest ResNet, with random weights; caches are empty."""
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.delenv("GRAFT_OFFLINE", raising=False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    file = io.BytesIO()
    torch.save(builder_for(ARCH).model(ARCH).state_dict(), file)
    name = f"{ARCH}-{hashlib.sha256(file.getvalue()).hexdigest()[:8]}.pth"
    safetensors = save(builder_for(TIMM_ARCH).model(TIMM_ARCH).state_dict())
    monkeypatch.setattr(models.get_model_weights(ARCH)["DEFAULT"].value, "url", f"https://nowhere.example/{name}")
    files = {f"/{name}": file.getvalue(), f"/{REPOSITORY}/resolve/main/model.safetensors": safetensors}
    with serving(Hub(files=files)) as found:
        point_at(found.url, monkeypatch)
        yield found
        huggingface_hub.close_session()


def point_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have both libraries ask ``url``."""
    weights = models.get_model_weights(ARCH)["DEFAULT"].value
    monkeypatch.setattr(weights, "url", f"{url}/{weights.url.rpartition('/')[2]}")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def around(tmp_path: Path) -> WeightsContext:
    return WeightsContext(tmp_path / "source", offline=False, seed=0)


@pytest.mark.parametrize("arch", [ARCH, TIMM_ARCH])
def test_fetched_once_and_loaded(hub: Hub, around: WeightsContext, arch: str) -> None:
    first = load_pretrained(Candidate(arch), around).network.state_dict()
    assert hub.asked
    hub.asked.clear()
    again = load_pretrained(Candidate(arch), around).network.state_dict()
    assert not hub.asked
    assert all(torch.equal(first[key], again[key]) for key in first if not key.startswith("head."))


@pytest.mark.parametrize("arch", [ARCH, TIMM_ARCH])
def test_a_download_that_breaks_off_is_not_used(hub: Hub, around: WeightsContext, arch: str) -> None:
    hub.sends = 0.5
    with pytest.raises(WeightsError, match=r"are not on this machine, and they cannot be downloaded \("):
        locate_weights(Candidate(arch), around)
    hub.sends = 1.0
    assert locate_weights(Candidate(arch), around) is not None


def test_a_file_that_is_not_the_published_one_is_refused(hub: Hub, around: WeightsContext) -> None:
    path = next(path for path in hub.files if path.endswith(".pth"))
    hub.files[path] = hub.files[path][:-1] + b"x"
    with pytest.raises(WeightsError, match=r"they cannot be downloaded \(invalid hash value"):
        locate_weights(Candidate(ARCH), around)


@pytest.mark.parametrize("arch", [ARCH, TIMM_ARCH])
def test_a_file_that_the_server_does_not_have(hub: Hub, around: WeightsContext, arch: str) -> None:
    hub.files.clear()
    with pytest.raises(WeightsError, match=r"they cannot be downloaded \(.*404"):
        locate_weights(Candidate(arch), around)


@pytest.mark.parametrize("arch", [ARCH, TIMM_ARCH])
def test_no_network(hub: Hub, around: WeightsContext, arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    point_at("http://127.0.0.1:9", monkeypatch)
    with pytest.raises(WeightsError, match=r"they cannot be downloaded(?s:.*)remedy: fetch http"):
        locate_weights(Candidate(arch), around)
    assert not hub.asked


@pytest.mark.parametrize("arch", [ARCH, TIMM_ARCH])
def test_offline_asks_nobody(hub: Hub, around: WeightsContext, arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match="downloads are switched off"):
        locate_weights(Candidate(arch), WeightsContext(around.sources, offline=True, seed=0))
    monkeypatch.setenv("GRAFT_OFFLINE", "1")
    with pytest.raises(WeightsError, match="downloads are switched off"):
        locate_weights(Candidate(arch), around)
    assert not hub.asked


def _put_by_hand(hub: Hub, checkpoints: Path, size: int | None) -> tuple[Path, bytes]:
    path, content = next((path, content) for path, content in hub.files.items() if path.endswith(".pth"))
    planted = checkpoints / path[1:]
    planted.parent.mkdir(parents=True)
    planted.write_bytes(content[:size])
    return planted, content


def test_a_truncated_file_of_torchvision_is_not_used(hub: Hub, around: WeightsContext, tmp_path: Path) -> None:
    _put_by_hand(hub, tmp_path / "hub" / "checkpoints", 1000)
    with pytest.raises(WeightsError, match=r"damaged or not whole(?s:.*)checkpoints(?s:.*)delete the file and fetch"):
        locate_weights(Candidate(ARCH), around)


def test_a_whole_file_of_torchvision_is_taken(hub: Hub, around: WeightsContext, tmp_path: Path) -> None:
    """As the refusal says: put there by hand, or by torchvision itself."""
    planted, _ = _put_by_hand(hub, tmp_path / "hub" / "checkpoints", None)
    found = load_pretrained(Candidate(ARCH), WeightsContext(around.sources, offline=True, seed=0)).network
    assert torch.equal(found.state_dict()["blocks.0.0.weight"], torch.load(planted)["features.0.weight"])
    assert not hub.asked


def test_every_file_of_torchvision_is_named_after_its_hash() -> None:
    urls = [weights.url for arch in TORCHVISION_BUILDER.names() for weights in models.get_model_weights(arch)]
    assert all(re.search(r"-[0-9a-f]{8,}\.pth$", url) for url in urls)


def test_fetch_says_what_is_there(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    fetch_weights([ARCH, TIMM_ARCH, "timm:tf_efficientnet_lite0:bundled"])
    first = capsys.readouterr().out
    assert f"{ARCH} (pretrained)\n" in first
    assert "licence: BSD-3-Clause (code)" in first and "licence: apache-2.0" in first
    file = bundled_file("timm:tf_efficientnet_lite0")
    assert f"file:    {file}\n  size:    18.8 MB\n  licence: Apache-2.0\n  sha256:  57934424" in first
    hub.asked.clear()
    fetch_weights([ARCH, TIMM_ARCH])
    assert capsys.readouterr().out in first, "what is here is not fetched again"
    assert not hub.asked


def test_fetch_knows_all_names_before_it_fetches_any(hub: Hub) -> None:
    with pytest.raises(ConfigError, match=r"unknown architecture 'resnet19'(?s:.*)did you mean 'resnet18'"):
        fetch_weights([ARCH, "resnet19"])
    with pytest.raises(WeightsError, match=r"has no weights named 'V9'"):
        fetch_weights([f"{ARCH}:V9"])
    assert not hub.asked


def test_fetch_goes_on_after_one_that_cannot_be_had(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    del hub.files[next(path for path in hub.files if path.endswith(".pth"))]
    with pytest.raises(WeightsError, match="404"):
        fetch_weights([ARCH, TIMM_ARCH])
    assert f"{TIMM_ARCH} (pretrained)\n" in capsys.readouterr().out
