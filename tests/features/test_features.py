"""Features and activations are those of the network, and the same to the last bit however they come about."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from graft.features import extraction as room
from graft.features.cache import ArrayCache
from graft.features.extraction import Extractor, frozen_part
from graft.features.keys import digest_of
from graft.models.backbone import Network
from graft.models.zoo.registry import build_network, builder_for

COUNT = 37
# A CNN at two sizes, odd ones among them, and a transformer; how many of the images fill a batch differs.
NETWORKS = (("resnet18", 32), ("mobilenet_v3_small", 45), ("timm:test_vit", 160))


def images_of(size: int, count: int = COUNT) -> np.ndarray:
    """Noise, uint8 (count, size, size, 3)."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3)).astype(np.uint8)


def extractor_of(arch: str, images: np.ndarray, names: tuple[str, ...], folder: Path) -> Extractor:
    """What runs ``arch`` over the images."""
    preprocessing = builder_for(arch).preprocessing(arch, images.shape[1])
    return Extractor(images, names, preprocessing, ArrayCache(folder), torch.device("cpu"))


def network_of(arch: str, size: int) -> Network:
    """A network with random weights, always the same."""
    torch.manual_seed(0)
    return build_network(arch, 2, None, size)


def names_of(count: int = COUNT) -> tuple[str, ...]:
    """A name for each image."""
    return tuple(f"image {number}" for number in range(count))


def forward_count(network: Network) -> list[int]:
    """Sizes of the batches that the network's first block is given."""
    seen: list[int] = []
    network.blocks[0].register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    return seen


@pytest.mark.parametrize(("arch", "size"), NETWORKS)
def test_features_of_every_depth_are_those_of_the_network(arch: str, size: int, tmp_path: Path) -> None:
    network = network_of(arch, size).eval()
    extractor = extractor_of(arch, images_of(size, 5), names_of(5), tmp_path)
    with torch.no_grad():
        batch = extractor.preprocessing.normalise(torch.from_numpy(extractor.images))
        want = [part.numpy() for part in network.pooled(batch)]
    got = extractor.block_features(network)
    assert len(got) == len(want)
    for one, other in zip(got, want, strict=True):
        assert one.flags.c_contiguous and one.dtype == np.float32
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("stop", [0, 2, 4])
def test_activations_at_the_boundary(stop: int, tmp_path: Path) -> None:
    network = network_of("resnet18", 32).eval()
    extractor = extractor_of("resnet18", images_of(32, 5), names_of(5), tmp_path)
    rows = np.array([True, False, True, True, False])
    batch = extractor.preprocessing.normalise(torch.from_numpy(extractor.images[rows]))
    with torch.no_grad():
        want = frozen_part(network, stop)(batch)
    torch.testing.assert_close(extractor.activations(network, stop, rows), want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("arch", "size"), NETWORKS)
def test_a_row_does_not_depend_on_what_is_computed_with_it(arch: str, size: int, tmp_path: Path) -> None:
    network, images, names = network_of(arch, size), images_of(size), np.array(names_of())
    whole = extractor_of(arch, images, tuple(names), tmp_path / "whole").block_features(network)
    shuffled = np.random.default_rng(1).permutation(COUNT)
    # From nothing in another order; alone; and the rest added to some that are kept, in an order of its own.
    for case, wanted in {"order": shuffled, "alone": shuffled[:1], "some": shuffled[:11], "rest": shuffled}.items():
        folder = tmp_path / ("some" if case == "rest" else case)
        got = extractor_of(arch, images[wanted], tuple(names[wanted]), folder).block_features(network)
        for one, other in zip(got, whole, strict=True):
            assert one.tobytes() == other[wanted].tobytes(), case


@pytest.mark.parametrize(("arch", "size"), NETWORKS)
def test_a_row_does_not_depend_on_the_number_of_threads(arch: str, size: int, tmp_path: Path) -> None:
    network, before = network_of(arch, size), torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            extractor = extractor_of(arch, images_of(size), names_of(), tmp_path / str(threads))
            found.append(b"".join(depth.tobytes() for depth in extractor.block_features(network)))
            with ThreadPoolExecutor(1) as pool:  # in a thread that begins only now, too
                assert torch.get_num_threads() == pool.submit(torch.get_num_threads).result() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_batches_are_of_one_size(tmp_path: Path) -> None:
    network = network_of("resnet18", 32)
    seen = forward_count(network)
    extractor_of("resnet18", images_of(32), names_of(), tmp_path).block_features(network)
    extractor_of("resnet18", images_of(32, 3), names_of(3), tmp_path / "other").block_features(network)
    assert seen == [32, 32, 32]


def test_one_changed_image_recomputes_one_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, images, names = network_of("resnet18", 32), images_of(32), list(names_of())
    first = extractor_of("resnet18", images, tuple(names), tmp_path).block_features(network)
    images[5], names[5] = 255 - images[5], "changed"
    put: list[np.ndarray] = []
    real = Extractor._run
    monkeypatch.setattr(
        Extractor,
        "_run",
        lambda self, forward, missing, keep: (put.append(missing), real(self, forward, missing, keep)),
    )
    second = extractor_of("resnet18", images, tuple(names), tmp_path).block_features(network)
    assert [missing.tolist() for missing in put] == [[5]]
    same = np.arange(COUNT) != 5
    for one, other in zip(first, second, strict=True):
        assert one[same].tobytes() == other[same].tobytes()
    assert not np.array_equal(first[-1][5], second[-1][5])
    fresh = extractor_of("resnet18", images, tuple(names), tmp_path / "fresh").block_features(network)
    assert all(one.tobytes() == other.tobytes() for one, other in zip(second, fresh, strict=True))


def test_a_warm_run_runs_no_network(tmp_path: Path) -> None:
    network, rows = network_of("resnet18", 32), np.arange(COUNT) % 2 == 0
    cold = extractor_of("resnet18", images_of(32), names_of(), tmp_path)
    features, activations = cold.block_features(network), cold.activations(network, 2, rows)
    seen = forward_count(network)
    warm = extractor_of("resnet18", images_of(32), names_of(), tmp_path)
    for one, other in zip(features, warm.block_features(network), strict=True):
        assert one.tobytes() == other.tobytes()
    assert torch.equal(activations, warm.activations(network, 2, rows))
    assert torch.equal(warm.activations(network, 2, ~rows), cold.activations(network, 2, ~rows))
    assert seen == []


def test_other_weights_are_other_features_and_another_head_is_not(tmp_path: Path) -> None:
    network, images, names = network_of("resnet18", 32), images_of(32, 5), names_of(5)
    extractor = extractor_of("resnet18", images, names, tmp_path)
    first = extractor.block_features(network)
    before = digest_of(network)
    torch.nn.init.zeros_(network.head.weight)
    assert digest_of(network) != before
    seen = forward_count(network)
    assert np.array_equal(first[-1], extractor.block_features(network)[-1])
    assert seen == []
    with torch.no_grad():
        next(network.blocks[0].parameters()).mul_(1.5)
    assert not np.array_equal(first[-1], extractor.block_features(network)[-1])


def test_other_libraries_or_code_make_other_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, images, names = network_of("resnet18", 32), images_of(32, 5), names_of(5)
    extractor = extractor_of("resnet18", images, names, tmp_path)
    extractor.block_features(network)
    seen = forward_count(network)
    monkeypatch.setattr(room, "running_version", lambda: "a later one")
    extractor.block_features(network)
    assert seen == [32]


def test_an_array_without_names_goes_by_its_own(tmp_path: Path) -> None:
    """Callers that have an array and no files give it one name."""
    network, images = network_of("resnet18", 32), images_of(32, 3)
    preprocessing = builder_for("resnet18").preprocessing("resnet18", 32)
    store = ArrayCache(tmp_path)
    some = Extractor(images, "some", preprocessing, store, torch.device("cpu")).block_features(network)
    other = Extractor(255 - images, "other", preprocessing, store, torch.device("cpu")).block_features(network)
    assert not np.array_equal(some[-1], other[-1])
