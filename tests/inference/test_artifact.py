"""A model on disk: its formats, and what does not fit model.json is refused in words."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import pytest
import torch

from graft.core.errors import WeightsError
from graft.inference import artifact
from graft.inference.artifact import ARTIFACT_FILE, WEIGHTS_FILE, Artifact, load_artifact, read_artifact, save_artifact
from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor
from graft.models.backbone import Network
from graft.models.zoo.registry import build_network


def test_weights_of_another_layout_are_refused(tmp_path: Path) -> None:
    """As after an update of graft that takes an architecture apart in another way."""
    preprocessing = ImagePreprocessor(Geometry(32, 1.0, "bilinear"), (0.5,) * 3, (0.5,) * 3)
    card = Artifact(("a", "b"), "shufflenet_v2_x0_5", "none", 2, preprocessing)
    save_artifact(tmp_path / "model", card, build_network("shufflenet_v2_x0_5", 2, depth=1))
    with pytest.raises(WeightsError) as refused:
        load_artifact(tmp_path / "model")
    assert str(refused.value) == (
        "the model's weights do not fit its network, shufflenet_v2_x0_5\n"
        f"  where: {tmp_path}/model/model.safetensors\n"
        "  remedy: make the model again, or use it with the version of graft that made it"
    )


def test_a_card_says_how_images_are_fitted_and_one_from_before_means_crop(tmp_path: Path) -> None:
    padded = ImagePreprocessor(Geometry(32, 1.0, "bilinear", "pad"), (0.5,) * 3, (0.5,) * 3)
    card = Artifact(("a", "b"), "shufflenet_v2_x0_5", "none", 1, padded)
    save_artifact(tmp_path / "model", card, build_network("shufflenet_v2_x0_5", 2, depth=1))
    assert read_artifact(tmp_path / "model").preprocessing == padded
    path = tmp_path / "model" / ARTIFACT_FILE
    values = json.loads(path.read_text(encoding="utf-8"))
    del values["preprocessing"]["geometry"]["fit"]
    path.write_text(json.dumps(values), encoding="utf-8")
    assert read_artifact(tmp_path / "model").preprocessing.geometry == Geometry(32, 1.0, "bilinear", "crop")


class ExportedFormat:
    """A format that needs no architecture, such as an exported graph: the whole module is in its file."""

    def write(self, folder: Path, network: Network) -> None:
        torch.save(network, folder / WEIGHTS_FILE)

    def read(self, folder: Path, artifact: Artifact) -> Network:
        network = torch.load(io.BytesIO((folder / WEIGHTS_FILE).read_bytes()), weights_only=False)
        assert isinstance(network, Network)
        return network


def test_a_card_names_its_format_and_one_from_before_means_an_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preprocessing = ImagePreprocessor(Geometry(32, 1.0, "bilinear"), (0.5,) * 3, (0.5,) * 3)
    card = Artifact(("a", "b"), "shufflenet_v2_x0_5", "none", 1, preprocessing)
    network = build_network("shufflenet_v2_x0_5", 2, depth=1).eval()
    save_artifact(tmp_path / "model", card, network)
    path = tmp_path / "model" / ARTIFACT_FILE
    values = json.loads(path.read_text(encoding="utf-8"))
    assert values.pop("kind") == "architecture"
    path.write_text(json.dumps(values), encoding="utf-8")
    assert read_artifact(tmp_path / "model").kind == "architecture"

    exported = dataclasses.replace(card, arch="unknown to the zoo", kind="exported")
    with monkeypatch.context() as patch:
        patch.setitem(artifact.FORMATS, "exported", ExportedFormat())  # type: ignore[arg-type]
        save_artifact(tmp_path / "exported", exported, network)
        images = torch.rand(2, 3, 32, 32)
        assert torch.equal(load_artifact(tmp_path / "exported")[1](images), network(images))
    with pytest.raises(WeightsError, match="this model was written by another version of graft"):
        read_artifact(tmp_path / "exported")
