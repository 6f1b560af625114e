"""Downloads against a hub on loopback: whole and verified or not at all, converted once, never gone on with."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

from graft import online
from graft.command.weights import fetch_weights
from graft.errors import ConfigError, WeightsError
from graft.settings import Candidate
from graft.vision import models
from graft.zoo import downloads, kept
from graft.zoo.bundled import bundled_file
from graft.zoo.catalogue import TORCHVISION_BUILDER, family_of
from graft.zoo.weights import Surroundings, locate, pretrained
from tests.zoo.hub import Hub, serving

ARCH, TIMM_ARCH = "squeezenet1_1", "timm:test_resnet"
REPOSITORY = "timm/test_resnet.r160_in1k"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Squeezenet as torchvision publishes it, and timm's smallest ResNet, with random weights; caches are empty."""
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.delenv("GRAFT_OFFLINE", raising=False)
    # Not the three seconds that somebody without a network waits: this machine may stand still for longer.
    monkeypatch.setattr(online, "_PATIENCE_S", 60.0)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    file = io.BytesIO()
    torch.save(family_of(ARCH).model(ARCH).state_dict(), file)
    name = f"{ARCH}-{hashlib.sha256(file.getvalue()).hexdigest()[:8]}.pth"
    safetensors = save(family_of(TIMM_ARCH).model(TIMM_ARCH).state_dict())
    files = {f"/{name}": file.getvalue(), f"/{REPOSITORY}/resolve/main/model.safetensors": safetensors}
    with serving(Hub(files=files)) as found:
        monkeypatch.setattr(models.get_model_weights(ARCH)["DEFAULT"].value, "url", f"{found.url}/{name}")
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", found.url)
        yield found


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    return Surroundings(tmp_path / "source", offline=False, seed=0)


def _left() -> list[str]:
    folder = kept.kept_folder()
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []


@pytest.mark.parametrize(("arch", "asked"), [(ARCH, ["GET"]), (TIMM_ARCH, ["HEAD", "GET"])])
def test_fetched_once_and_loaded(hub: Hub, around: Surroundings, arch: str, asked: list[str]) -> None:
    first = pretrained(Candidate(arch), around).network.state_dict()
    path = locate(Candidate(arch), around)
    assert path is not None and path.suffix == ".safetensors" and path.parent == kept.kept_folder()
    assert [line.split()[0] for line in hub.asked] == asked
    hub.asked.clear()
    offline = Surroundings(around.sources, offline=True, seed=9)
    again = pretrained(Candidate(arch), offline).network.state_dict()
    assert not hub.asked
    assert all(torch.equal(first[key], again[key]) for key in first if not key.startswith("head."))
    assert len(_left()) == 2, "the weights and their card, and nothing of the download"


@pytest.mark.parametrize("arch", [ARCH, TIMM_ARCH])
def test_a_download_that_breaks_off_leaves_nothing(hub: Hub, around: Surroundings, arch: str) -> None:
    hub.sends = 0.5
    with pytest.raises(WeightsError, match=r"the download broke off \(.*\); nothing of it was kept\n  where: http"):
        locate(Candidate(arch), around)
    assert _left() == []
    hub.sends = 1.0
    assert locate(Candidate(arch), around) is not None


def test_a_file_that_is_not_the_published_one_is_refused(hub: Hub, around: Surroundings) -> None:
    path = next(path for path in hub.files if path.endswith(".pth"))
    hub.files[path] = hub.files[path][:-1] + b"x"
    with pytest.raises(WeightsError, match=r"not the file that was published: its sha256 begins with [0-9a-f]{8}, not"):
        locate(Candidate(ARCH), around)
    hub.states = "0" * 64
    with pytest.raises(WeightsError, match=r"not the file that was published: .* not 0{64}"):
        locate(Candidate(TIMM_ARCH), around)
    assert _left() == []


def test_a_hub_that_states_no_hash_is_refused(hub: Hub, around: Surroundings) -> None:
    hub.states = "abc"
    with pytest.raises(WeightsError, match="the hub states no sha256 for this file"):
        locate(Candidate(TIMM_ARCH), around)


def test_a_file_that_lies_on_another_host(hub: Hub, around: Surroundings) -> None:
    """The hub states the hash and points elsewhere, where nothing is known of it."""
    hub.elsewhere = True
    assert locate(Candidate(TIMM_ARCH), around) is not None
    assert [line.split()[0] for line in hub.asked] == ["HEAD", "GET", "GET"]


def test_a_file_that_the_server_does_not_have(hub: Hub, around: Surroundings) -> None:
    hub.files.clear()
    with pytest.raises(WeightsError, match=r"the server answers 404 \(Not Found\)"):
        locate(Candidate(ARCH), around)
    with pytest.raises(WeightsError, match=r"the server answers 404"):
        locate(Candidate(TIMM_ARCH), around)


def test_no_network(hub: Hub, around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "reachable", lambda url: False)
    with pytest.raises(WeightsError, match=r"are not on this machine, and 127\.0\.0\.1 cannot be reached"):
        locate(Candidate(ARCH), around)
    assert not hub.asked


@pytest.mark.parametrize("arch", [ARCH, TIMM_ARCH])
def test_offline_asks_nobody(hub: Hub, around: Surroundings, arch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match="downloads are switched off"):
        locate(Candidate(arch), Surroundings(around.sources, offline=True, seed=0))
    monkeypatch.setenv("GRAFT_OFFLINE", "1")
    with pytest.raises(WeightsError, match="downloads are switched off"):
        locate(Candidate(arch), around)
    assert not hub.asked


def test_a_truncated_file_of_torchvision_is_not_used(
    hub: Hub, around: Surroundings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, content = next((path, content) for path, content in hub.files.items() if path.endswith(".pth"))
    planted = tmp_path / "hub" / "checkpoints" / path[1:]
    planted.parent.mkdir(parents=True)
    planted.write_bytes(content[:1000])
    with pytest.raises(WeightsError, match=r"damaged or not whole(?s:.*)checkpoints(?s:.*)delete the file and fetch"):
        locate(Candidate(ARCH), Surroundings(around.sources, offline=True, seed=0))
    assert locate(Candidate(ARCH), around) is not None
    assert "is not the file that was published" in capsys.readouterr().err
    assert hub.asked == [f"GET {path}"]


def test_a_whole_file_of_torchvision_is_taken(hub: Hub, around: Surroundings, tmp_path: Path) -> None:
    """As the refusal says: put there by hand, or by torchvision itself."""
    path, content = next((path, content) for path, content in hub.files.items() if path.endswith(".pth"))
    planted = tmp_path / "hub" / "checkpoints" / path[1:]
    planted.parent.mkdir(parents=True)
    planted.write_bytes(content)
    found = pretrained(Candidate(ARCH), Surroundings(around.sources, offline=True, seed=0)).network
    assert torch.equal(found.state_dict()["blocks.0.0.weight"], torch.load(planted)["features.0.weight"])
    assert not hub.asked


def test_a_partial_download_of_the_hub_is_not_read(hub: Hub, around: Surroundings, tmp_path: Path) -> None:
    content = next(content for path, content in hub.files.items() if path.endswith(".safetensors"))
    blobs = tmp_path / "hf" / f"models--{REPOSITORY.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{hashlib.sha256(content).hexdigest()}.incomplete").write_bytes(content[:1000])
    with pytest.raises(WeightsError, match="are not on this machine"):
        locate(Candidate(TIMM_ARCH), Surroundings(around.sources, offline=True, seed=0))
    assert locate(Candidate(TIMM_ARCH), around) is not None
    assert hub.asked[-1].startswith("GET")


@pytest.mark.parametrize("whole", [1.0, 0.5])
def test_a_file_of_the_hubs_own_cache(hub: Hub, around: Surroundings, tmp_path: Path, whole: float) -> None:
    """What timm itself downloaded is taken if it is whole: the cache names a file after its hash."""
    content = next(content for path, content in hub.files.items() if path.endswith(".safetensors"))
    folder = tmp_path / "hf" / f"models--{REPOSITORY.replace('/', '--')}"
    blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
    link = folder / "snapshots" / ("0" * 40) / "model.safetensors"
    for path in (blob, link, folder / "refs" / "main"):
        path.parent.mkdir(parents=True)
    blob.write_bytes(content[: int(len(content) * whole)])
    link.symlink_to(blob)
    (folder / "refs" / "main").write_text("0" * 40)
    offline = Surroundings(around.sources, offline=True, seed=0)
    if whole == 1.0:
        assert locate(Candidate(TIMM_ARCH), offline) is not None
    else:
        with pytest.raises(WeightsError, match="damaged or not whole"):
            locate(Candidate(TIMM_ARCH), offline)
        locate(Candidate(TIMM_ARCH), around)
        assert hub.asked[-1].startswith("GET")


def test_kept_weights_that_were_damaged_are_made_again(
    hub: Hub, around: Surroundings, capsys: pytest.CaptureFixture[str]
) -> None:
    path = locate(Candidate(ARCH), around)
    assert path is not None
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert locate(Candidate(ARCH), around) == path
    assert path.read_bytes() == whole
    assert "are damaged and are made again" in capsys.readouterr().err


def test_kept_weights_without_a_card_are_not_read(hub: Hub, around: Surroundings) -> None:
    """Killed between the weights and their card: nobody vouches for the file."""
    path = locate(Candidate(ARCH), around)
    assert path is not None
    path.with_suffix(".json").unlink()
    assert kept.kept_file(path.stem) is None


def test_a_local_pth_is_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = torch.arange(4.0)
    torch.save({"a": shared, "b": shared, "c": torch.ones(2, 3).t()}, tmp_path / "mine.pth")
    path = kept.as_safetensors(tmp_path / "mine.pth")
    state = load_file(path)
    assert set(state) == {"a", "b", "c"} and torch.equal(state["a"], state["b"]) and state["c"].shape == (3, 2)
    assert json.loads(path.with_suffix(".json").read_text())["origin"] == str(tmp_path / "mine.pth")
    monkeypatch.setattr(kept, "read_state", lambda _: pytest.fail("it was converted already"))
    assert kept.as_safetensors(tmp_path / "mine.pth") == path


def test_every_file_of_torchvision_is_named_after_its_hash() -> None:
    urls = [weights.url for arch in TORCHVISION_BUILDER.names() for weights in models.get_model_weights(arch)]
    assert all(re.search(r"-[0-9a-f]{8,}\.pth$", url) for url in urls)


def test_fetch_says_what_is_there(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    fetch_weights([ARCH, TIMM_ARCH, "timm:tf_efficientnet_lite0:bundled"], "pretrained", offline=False)
    first = capsys.readouterr().out
    assert f"{ARCH} (pretrained): fetched and verified" in first
    assert "licence: BSD-3-Clause (code)" in first and "licence: apache-2.0" in first
    file = bundled_file("timm:tf_efficientnet_lite0")
    assert f"file:    {file}\n  size:    18.8 MB\n  licence: Apache-2.0\n  sha256:  57934424" in first
    hub.asked.clear()
    fetch_weights([ARCH, TIMM_ARCH], "pretrained", offline=True)
    assert capsys.readouterr().out.count("was here, verified") == 2
    assert not hub.asked


def test_fetch_knows_all_names_before_it_fetches_any(hub: Hub) -> None:
    with pytest.raises(ConfigError, match=r"unknown architecture 'resnet19'(?s:.*)did you mean 'resnet18'"):
        fetch_weights([ARCH, "resnet19"], "pretrained", offline=False)
    with pytest.raises(WeightsError, match=r"has no weights named 'V9'"):
        fetch_weights([f"{ARCH}:V9"], "pretrained", offline=False)
    assert not hub.asked


def test_fetch_goes_on_after_one_that_cannot_be_had(hub: Hub, capsys: pytest.CaptureFixture[str]) -> None:
    del hub.files[next(path for path in hub.files if path.endswith(".pth"))]
    with pytest.raises(WeightsError, match="the server answers 404"):
        fetch_weights([ARCH, TIMM_ARCH], "pretrained", offline=False)
    assert f"{TIMM_ARCH} (pretrained): fetched and verified" in capsys.readouterr().out
