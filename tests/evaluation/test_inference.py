"""Several models over the same files: decoded once, pixels shared, columns put in one order; and the cost of one."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from graft.core.errors import DataError
from graft.core.memory import peak_bytes
from graft.evaluation import inference
from graft.evaluation.cost import Footprint, measure_cost, measure_footprint
from graft.evaluation.inference import answers_of
from graft.inference.artifact import Artifact, save_artifact
from graft.inference.predictor import Predictor
from graft.modalities.image import decode
from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor
from graft.models.backbone import blank_image
from graft.models.flops import cost_of
from graft.models.zoo.registry import build_network

CLASSES = ("a", "b", "c")


class Means(nn.Module):
    """Logits are the three channels' means: the same for every order of batches."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


def _predictor(size: int, classes: tuple[str, ...] = CLASSES) -> Predictor:
    preprocessing = ImagePreprocessor(Geometry(size, 1.0, "bilinear"), (0.5,) * 3, (0.5,) * 3)
    return Predictor(Artifact(classes, "means", "none", None, preprocessing), Means())  # type: ignore[arg-type]


@pytest.fixture
def images(make_classes: Callable[..., Path]) -> list[Path]:
    return sorted(make_classes({"a": 4, "b": 3}).rglob("*.png"))


def test_every_image_is_decoded_once_for_all_models(images: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[Path] = Counter()
    resized: Counter[int] = Counter()
    real, apply = decode.decode, Geometry.apply

    def counting(image: Path, **options: Any) -> object:
        seen[image] += 1
        return real(image, **options)

    def resizing(self: Geometry, image: object) -> object:
        resized[self.size] += 1
        return apply(self, image)  # type: ignore[arg-type]

    monkeypatch.setattr(decode, "decode", counting)
    monkeypatch.setattr(Geometry, "apply", resizing)
    answers_of({"one": _predictor(16), "two": _predictor(16), "three": _predictor(8)}, images, CLASSES)
    assert seen == Counter(images)
    assert resized == {16: 7, 8: 7}


@pytest.mark.parametrize("batch", [1, 3, 7, 64])
def test_batches_do_not_change_what_is_said(images: list[Path], batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "BATCH", batch)
    model = _predictor(16)
    found = answers_of({"model": model, "small": _predictor(8)}, images, CLASSES)
    np.testing.assert_allclose(found["model"].outputs, model.predict(images), atol=1e-7)
    assert found["small"].outputs.shape == (7, 3)


def test_columns_are_put_into_one_order(images: list[Path]) -> None:
    turned = _predictor(16, ("c", "a", "b"))
    found = answers_of({"plain": _predictor(16), "turned": turned}, images, CLASSES)
    np.testing.assert_allclose(found["turned"].outputs, found["plain"].outputs[:, [1, 2, 0]])


def test_damaged_image_is_named(images: list[Path]) -> None:
    images[3].write_bytes(b"no image")
    with pytest.raises(DataError) as refused:
        answers_of({"model": _predictor(16)}, images, CLASSES)
    assert refused.value.where == str(images[3])


def test_cost_counts_parameters_bytes_and_time(images: list[Path], tmp_path: Path) -> None:
    network = build_network("mobilenet_v3_small", 3)
    preprocessing = dataclasses.replace(_predictor(16).artifact.preprocessing, geometry=Geometry(32, 1.0, "bilinear"))
    artifact = save_artifact(
        tmp_path / "model", Artifact(CLASSES, "mobilenet_v3_small", "none", None, preprocessing), network
    )
    model = tmp_path / "model"
    found = measure_cost(Predictor(artifact, network.eval()), model, images, Footprint(None, "not asked for"))
    assert found.parameters == sum(value.numel() for value in network.parameters())
    assert found.size_mb == (tmp_path / "model" / "model.safetensors").stat().st_size / 1e6
    assert 0 < found.latency_ms <= found.latency_p95_ms
    assert (found.runs, found.device, found.batch) == (30, "cpu", 32)
    assert found.images_per_s > 0 and found.load_ms > 0
    assert found.gmacs == cost_of(network, blank_image(32)).gmacs
    shown = found.to_json()
    assert shown["latency_p50_ms"] == found.latency_ms and shown["rounds"] == 2
    assert (shown["peak_memory_mb"], shown["reason"]) == (None, "not asked for")


def test_memory_is_that_of_a_process_of_its_own(images: list[Path], tmp_path: Path) -> None:
    network = build_network("shufflenet_v2_x0_5", 3, depth=1)
    folder = tmp_path / "model"
    save_artifact(folder, dataclasses.replace(_predictor(16).artifact, arch="shufflenet_v2_x0_5", depth=1), network)
    kept = np.ones(200_000_000, dtype=np.uint8)  # what this process holds must not be told as the model's
    assert peak_bytes() > kept.nbytes
    found = measure_footprint(folder, images[:2], 1)
    assert found.reason is None and found.peak_mb is not None
    # More than Python with torch can do without, and less than that and what is held here.
    assert 80 < found.peak_mb < peak_bytes() / 1e6


@pytest.mark.parametrize("command", ["/bin/false", "/no/such/command"])
def test_memory_that_cannot_be_measured_has_a_reason(
    images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr("sys.executable", command)
    found = measure_footprint(tmp_path, images[:1], 1)
    assert found.peak_mb is None and str(found.reason).startswith("the process that measures it ")
