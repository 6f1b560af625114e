"""The card's trust on the way from image to answer: calibrated, answers the same, old cards as before."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from graft.calibration.fitted_trust import FittedTrust, Novelty, Temperature, Threshold
from graft.calibration.novelty import features_of
from graft.core.errors import WeightsError
from graft.inference.artifact import Artifact, read_artifact, save_artifact
from graft.inference.predictor import Predictor
from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor
from graft.models.backbone import Network
from graft.models.zoo.registry import build_network

ARCH = "shufflenet_v2_x0_5"
PREPROCESSING = ImagePreprocessor(Geometry(32, 1.0, "bilinear"), (0.5,) * 3, (0.5,) * 3)
PLAIN = Artifact(("a", "b", "c"), ARCH, "none", 1, PREPROCESSING)
TRUST = FittedTrust(Temperature(3.0, 2.0, 4.0, 50, None), Threshold(0.7, 0.95, 50, None), Novelty(0.01, 1, 0.95, 50, 4))


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return build_network(ARCH, 3, depth=1).eval()


@pytest.fixture
def images(make_classes: Callable[..., Path]) -> list[Path]:
    return sorted(make_classes({"a": 4, "b": 4}).rglob("*.png"))


def test_temperature_is_used_and_changes_no_answer(network: Network, images: list[Path], tmp_path: Path) -> None:
    save_artifact(tmp_path / "plain", PLAIN, network)
    save_artifact(tmp_path / "calibrated", dataclasses.replace(PLAIN, trust=TRUST), network)
    plain, calibrated = (Predictor.load(tmp_path / name).predict(images) for name in ("plain", "calibrated"))
    wanted = plain ** (1 / 3)
    np.testing.assert_allclose(calibrated, wanted / wanted.sum(axis=1, keepdims=True), atol=1e-9)
    assert (plain.argmax(axis=1) == calibrated.argmax(axis=1)).all() and not np.allclose(plain, calibrated)


def test_seen_images_are_not_novel_and_batches_do_not_matter(
    network: Network, images: list[Path], tmp_path: Path
) -> None:
    shown = np.stack([PREPROCESSING.geometry.load(image) for image in images[:4]])
    artifact = dataclasses.replace(PLAIN, trust=TRUST)
    written = save_artifact(tmp_path / "m", artifact, network, features_of(network, PREPROCESSING, shown))
    assert len(written.trust.novelty.sha256) == 64 and read_artifact(tmp_path / "m") == written
    model = Predictor.load(tmp_path / "m")
    prepared = [model.preprocess(image) for image in images]
    together = model.predict_batch(prepared)
    assert together.novelty is not None
    assert (together.novelty[:4] < 0.5).all() and (together.novelty[4:] > 0.5).all()
    alone = np.array([model.predict_batch([image]).novelty for image in prepared]).ravel()
    # Of a seen image the distance is the root of what rounding leaves, which depends on the processor.
    np.testing.assert_allclose(alone, together.novelty, atol=0.1)
    np.testing.assert_allclose(together.outputs, model.predict(images), atol=1e-7)
    none = model.predict_batch([])
    assert none.outputs.shape == (0, 3) and none.novelty is not None and none.novelty.shape == (0,)


def test_unsure_is_under_the_threshold(network: Network) -> None:
    model = Predictor(dataclasses.replace(PLAIN, trust=TRUST), network)
    rows = np.array([[0.7, 0.2, 0.1], [0.69, 0.21, 0.1]])
    assert model.abstains(rows).tolist() == [False, True]


def test_a_card_from_before_is_temperature_one(network: Network, images: list[Path], tmp_path: Path) -> None:
    save_artifact(tmp_path / "m", PLAIN, network)
    path = tmp_path / "m" / "model.json"
    card = json.loads(path.read_text())
    del card["trust"]
    path.write_text(json.dumps(card))
    model = Predictor.load(tmp_path / "m")
    assert (model.artifact.trust.temperature.value, model.artifact.trust.threshold.confidence) == (1.0, 0.5)
    assert model.predict_batch([model.preprocess(images[0])]).novelty is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": {"value": 0.0}}, "the temperature is 0.0, and must be positive"),
        ({"threshold": {"no": 1}}, "unexpected keyword argument 'no'"),
    ],
)
def test_a_damaged_card_is_refused(network: Network, tmp_path: Path, change: dict, message: str) -> None:
    save_artifact(tmp_path / "m", PLAIN, network)
    path = tmp_path / "m" / "model.json"
    card = json.loads(path.read_text())
    card["trust"].update(change)
    path.write_text(json.dumps(card))
    with pytest.raises(WeightsError, match=message):
        read_artifact(tmp_path / "m")
