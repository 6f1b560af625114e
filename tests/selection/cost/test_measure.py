"""Memory by hand, medians and intervals against numpy, and one network that fails among others that do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor
from graft.models.backbone import BackboneParts, Network, blank_image
from graft.models.zoo.registry import build_network
from graft.selection.cost.forward_memory import peak_memory_mb
from graft.selection.cost.measure import TOGETHER, Served, _parts, measure, timing

AT_32 = ImagePreprocessor(Geometry(32, 1.0, "bilinear"), (0.5,) * 3, (0.5,) * 3)


class Two(nn.Module):
    """3 -> 8 -> 8 in place -> 4 channels, the same side throughout."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU(inplace=True), nn.Conv2d(8, 4, 3, padding=1, bias=False)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.steps(x)
        return out


class Flat(nn.Module):
    """The mean over positions."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


def test_memory_is_parameters_and_what_lives_at_once() -> None:
    """At the second convolution its input (8 channels), its output (4) and the image (3) live, at 4 bytes a number."""
    network = Network(BackboneParts((Two(),), Flat(), 4, "NCHW"), 2)
    parameters = 3 * 8 * 9 + 8 * 4 * 9 + 4 * 2 + 2
    for side in (16, 40):
        assert peak_memory_mb(network, blank_image(side)) == pytest.approx(
            4 * (parameters + (8 + 4 + 3) * side**2) / 1e6
        )


def test_memory_is_the_same_again_and_counts_shared_weights_once() -> None:
    network = build_network("shufflenet_v2_x0_5", 3, depth=1)
    assert peak_memory_mb(network, blank_image(32)) == peak_memory_mb(network, blank_image(32))
    own = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers())) / 1e6
    assert own < peak_memory_mb(network, blank_image(32)) < peak_memory_mb(network, blank_image(64))
    twin = nn.Linear(10, 10, bias=False)
    tied = Network(BackboneParts((nn.Sequential(Flat(), nn.Linear(3, 10), twin, twin),), nn.Identity(), 10, "NC"), 2)
    numbers = 3 * 10 + 10 + 100 + 10 * 2 + 2
    assert peak_memory_mb(tied, blank_image(8)) == pytest.approx(4 * (numbers + 3 * 64 + 20) / 1e6)


def test_timing_is_the_median_with_its_bootstrap_interval() -> None:
    values = [5.0, 1.0, 2.0, 3.0, 100.0]
    found = timing(values, seed=0)
    assert found.value == 3.0 == np.median(values)
    assert 1.0 <= found.low <= 3.0 <= found.high <= 100.0
    assert timing([2.0] * 4, 0) == timing([2.0] * 4, 1)
    assert (timing([2.0], 0).low, timing([2.0], 0).high) == (2.0, 2.0)
    many = np.random.default_rng(0).normal(10, 1, 400)
    # The median of n normal values has the standard error 1.2533 / sqrt(n).
    assert timing(many, 0).high - timing(many, 0).low == pytest.approx(2 * 1.96 * 1.2533 / 20, rel=0.3)


def test_one_that_cannot_be_run_leaves_the_others_measured() -> None:
    def fits() -> Network:
        return build_network("shufflenet_v2_x0_5", 2, depth=0)

    def too_large() -> Network:
        torch.empty(10**15)
        raise AssertionError("no machine has four petabytes")

    found = measure(
        [Served(fits, 1.0, AT_32), Served(too_large, 1.0, AT_32), Served(fits, 1.0, AT_32)], torch.device("cpu"), 0
    )
    assert isinstance(found[1], RuntimeError) and "allocate memory" in str(found[1])
    for item in (found[0], found[2]):
        assert not isinstance(item, Exception)
        assert 0 < item.latency_ms.low <= item.latency_ms.value <= item.latency_ms.high
        assert item.images_per_s.value > 0 and item.memory_mb > 0


def test_networks_that_are_held_at_once_are_bounded() -> None:
    def build() -> Network:
        raise AssertionError("only sizes matter here")

    some = [Served(build, size * TOGETHER, AT_32) for size in (0.4, 0.4, 0.4, 2.0, 0.1)]
    assert [[item.bytes / TOGETHER for item in part] for part in _parts(some)] == [[0.4, 0.4], [0.4], [2.0], [0.1]]
