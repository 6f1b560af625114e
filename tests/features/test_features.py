"""Caches: the same content is computed once, other content again, and a damaged file is no obstacle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from graft.features.extract import Extractor, frozen_part
from graft.features.images import ImageSet, decoded
from graft.features.store import Store, digest_of, key_of
from graft.zoo.catalogue import family_of
from graft.zoo.network import build_network
from graft.zoo.preprocessing import Geometry


def _counted(calls: list[int]) -> dict[str, np.ndarray]:
    calls.append(1)
    return {"x": np.arange(6, dtype=np.float32)}


def test_computed_once_per_key(tmp_path: Path) -> None:
    calls: list[int] = []
    store = Store(tmp_path)
    first = store.get("kind", key_of("a"), lambda: _counted(calls))
    again = store.get("kind", key_of("a"), lambda: _counted(calls))
    store.get("kind", key_of("b"), lambda: _counted(calls))
    assert len(calls) == 2
    assert np.array_equal(first["x"], again["x"])


def test_a_damaged_file_is_computed_again(tmp_path: Path) -> None:
    calls: list[int] = []
    store = Store(tmp_path)
    store.get("kind", key_of("a"), lambda: _counted(calls))
    file = next((tmp_path / "kind").iterdir())
    file.write_bytes(file.read_bytes()[:20])
    assert store.get("kind", key_of("a"), lambda: _counted(calls))["x"].tolist() == [0, 1, 2, 3, 4, 5]
    assert len(calls) == 2


def test_a_failed_computation_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> dict[str, np.ndarray]:
        raise RuntimeError("planted")

    with pytest.raises(RuntimeError, match="planted"):
        Store(tmp_path).get("kind", "k", fail)
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_images_are_decoded_once_per_geometry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, shade in (("a.png", 10), ("b.png", 200)):
        Image.new("RGB", (40, 30), (shade, 0, 0)).save(tmp_path / name)
    opened: list[Path] = []
    real = Geometry.load
    monkeypatch.setattr(Geometry, "load", lambda self, path: (opened.append(path), real(self, path))[1])
    some = ImageSet(tmp_path, ("a.png", "b.png"), ("1", "2"))
    store = Store(tmp_path / "cache")
    array = decoded(some, Geometry(16, 1.0, "bilinear"), store)
    decoded(some, Geometry(16, 1.0, "bilinear"), store)
    assert array.shape == (2, 16, 16, 3)
    assert array[:, 0, 0, 0].tolist() == [10, 200]
    assert len(opened) == 2
    decoded(some, Geometry(24, 1.0, "bilinear"), store)
    decoded(ImageSet(tmp_path, ("a.png", "b.png"), ("1", "3")), Geometry(16, 1.0, "bilinear"), store)
    assert len(opened) == 6


@pytest.fixture
def extractor(tmp_path: Path) -> Extractor:
    random = np.random.default_rng(0)
    array = random.integers(0, 255, (5, 32, 32, 3)).astype(np.uint8)
    preprocessing = family_of("resnet18").preprocessing("resnet18", 32)
    return Extractor(array, "images", preprocessing, Store(tmp_path), torch.device("cpu"))


def test_features_of_every_depth_are_those_of_the_network(extractor: Extractor) -> None:
    network = build_network("resnet18", 2).eval()
    batch = extractor.preprocessing.normalise(torch.from_numpy(extractor.images))
    with torch.no_grad():
        wanted = [part.numpy() for part in network.pooled(batch)]
    for got, want in zip(extractor.every_depth(network), wanted, strict=True):
        np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("stop", [0, 2, 4])
def test_activations_at_the_boundary(extractor: Extractor, stop: int) -> None:
    network = build_network("resnet18", 2).eval()
    rows = np.array([True, False, True, True, False])
    batch = extractor.preprocessing.normalise(torch.from_numpy(extractor.images[rows]))
    with torch.no_grad():
        want = frozen_part(network, stop)(batch)
    torch.testing.assert_close(extractor.activations(network, stop, rows), want, atol=1e-5, rtol=1e-5)


def test_other_weights_are_other_features(extractor: Extractor) -> None:
    first, second = build_network("resnet18", 2), build_network("resnet18", 2)
    assert digest_of(first) != digest_of(second)
    assert not np.array_equal(extractor.every_depth(first)[-1], extractor.every_depth(second)[-1])
