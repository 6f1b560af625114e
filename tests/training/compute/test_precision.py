"""The trial of precision, memory format and threads: never slower than plain float32, and the same answer next time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning_fabric import Fabric

from graft.core.settings import Compute, Train
from graft.features.cache import ArrayCache
from graft.features.extraction import Extractor
from graft.models.backbone import BackboneParts, Layout, Network, blank_image
from graft.models.zoo.registry import build_network, builder_for
from graft.training.compute import precision_autotune as trial
from graft.training.compute.precision import (
    LARGE,
    Mode,
    Precision,
    default_mode,
    full_precision_mode,
    has_bfloat16_cpu,
    modes_to_try,
    set_memory_format,
    thread_count,
    to_memory_format,
)
from graft.training.compute.precision_autotune import (
    MARGIN,
    ROUNDS,
    ModeAutotuner,
    Timings,
    cached_timings,
    time_modes,
    timings_key,
    training_gmacs,
)
from graft.training.finetune import FineTuningData
from graft.training.strategies import STRATEGIES

CPU = torch.device("cpu")
CHOICES = modes_to_try(CPU, 2)


def on_cpu(precision: Precision) -> Fabric:
    return Fabric(accelerator="cpu", devices=1, precision=precision)


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return build_network("shufflenet_v2_x0_5", 3, size=32)


@given(st.lists(st.floats(0.01, 100), min_size=len(CHOICES), max_size=len(CHOICES)))
def test_another_mode_than_plain_float32_is_taken_only_where_it_is_clearly_faster(speed_ups: list[float]) -> None:
    speed_ups[0] = 1.0
    trial = Timings(tuple(zip(CHOICES, speed_ups, strict=True)))
    taken = dict(trial.speed_ups)[trial.chosen]
    assert taken == (max(speed_ups) if max(speed_ups) >= MARGIN else 1.0)


def test_plain_float32_stands_first_and_no_mode_twice() -> None:
    assert CHOICES[0] == full_precision_mode(2)
    assert len(set(CHOICES)) == len(CHOICES)
    assert {mode.threads for mode in CHOICES} == {1, 2}
    assert any(mode.precision == "bf16-mixed" for mode in CHOICES) == has_bfloat16_cpu()
    assert {mode.threads for mode in modes_to_try(CPU, 1)} == {1}


def test_a_trial_leaves_network_and_threads_as_they_are(network: Network) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    threads = torch.get_num_threads()
    trial = time_modes(network, torch.randn(4, 3, 32, 32), 3, CHOICES[:3], on_cpu)
    assert trial.speed_ups[0] == (CHOICES[0], 1.0) and {mode for mode, _ in trial.speed_ups} <= set(CHOICES[:3])
    assert all(0 < value < float("inf") for _, value in trial.speed_ups)
    assert torch.get_num_threads() == threads
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


class Clock:
    """A machine on which a step of a mode takes what is said of its number, the last number counting on."""

    def __init__(self, times: dict[Mode, tuple[float, ...]]) -> None:
        self.now, self._times, self.steps = 0.0, times, dict.fromkeys(times, 0)

    def perf_counter(self) -> float:
        return self.now

    def step_of(self, *given: object) -> Callable[[], None]:
        (mode,) = (one for one in given if isinstance(one, Mode))

        def step() -> None:
            times = self._times[mode]
            self.now += times[min(self.steps[mode], len(times) - 1)]
            self.steps[mode] += 1

        return step


@pytest.mark.parametrize(
    ("plain_takes", "other_takes", "taken"),
    [((9.0, 5.0, 1.0), (9.0, 1.0), 0), ((9.0, 1.0), (9.0, 0.8), 1), ((2.0, 4.0, 2.0), (9.0, 3.0, 1.5), 1)],
    ids=["a moment's luck", "always faster", "faster on a machine that others use"],
)
def test_a_mode_is_held_against_plain_float32_in_every_round(
    plain_takes: tuple[float, ...], other_takes: tuple[float, ...], taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first step is not counted."""
    choices = [full_precision_mode(2), Mode("32-true", True, 2)]
    clock = Clock(dict(zip(choices, (plain_takes, other_takes), strict=True)))
    monkeypatch.setattr(trial, "time", clock)
    monkeypatch.setattr(trial, "training_step", clock.step_of)
    found = time_modes(torch.nn.Identity(), torch.zeros(1), 2, choices, on_cpu)
    assert found.chosen == choices[taken]
    assert dict(found.speed_ups)[choices[1]] == pytest.approx(plain_takes[-1] / other_takes[-1])


def test_a_hopeless_mode_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    choices = [full_precision_mode(2), Mode("bf16-mixed", False, 2)]
    clock = Clock({choices[0]: (1.0,), choices[1]: (1.0, 1.6)})
    monkeypatch.setattr(trial, "time", clock)
    monkeypatch.setattr(trial, "training_step", clock.step_of)
    found = time_modes(torch.nn.Identity(), torch.zeros(1), 2, choices, on_cpu)
    assert found.speed_ups == ((choices[0], 1.0),) and clock.steps == {choices[0]: 1 + ROUNDS, choices[1]: 2}


@pytest.mark.parametrize("mode", [*CHOICES, Mode("bf16-mixed", True, 1), Mode("32-true", True, 2)], ids=str)
def test_every_mode_gives_the_loss_of_plain_float32(mode: Mode, network: Network) -> None:
    batch = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    expected = network.eval()(batch)
    with thread_count(mode):
        assert torch.get_num_threads() == mode.threads
        logits = on_cpu(mode.precision).setup(set_memory_format(build_like(network), mode).eval())(
            to_memory_format(batch, mode)
        )
    assert logits.dtype == torch.float32
    tolerance = 1e-4 if mode.precision == "32-true" else 0.05
    torch.testing.assert_close(logits, expected, rtol=tolerance, atol=tolerance)


def build_like(network: Network) -> Network:
    twin = build_network("shufflenet_v2_x0_5", 3, size=32)
    twin.load_state_dict(network.state_dict())
    return twin


def test_memory_formats_are_those_of_the_mode() -> None:
    batch = torch.randn(2, 3, 4, 5)
    last = to_memory_format(batch, Mode("32-true", True, 1))
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert to_memory_format(last, full_precision_mode(1)).is_contiguous()
    assert to_memory_format(torch.randn(2, 7), full_precision_mode(1)).shape == (2, 7)


def test_a_trial_is_made_once(tmp_path: Path) -> None:
    calls = []

    def measure() -> Timings:
        calls.append(1)
        return Timings(((full_precision_mode(2), 1.0), (Mode("bf16-mixed", True, 2), 3.3)))

    first = cached_timings(tmp_path, "key", measure)
    assert cached_timings(tmp_path, "key", measure) == first
    assert len(calls) == 1
    assert str(first.chosen) == "bfloat16, channels last, 2 threads"
    (tmp_path / "trials" / "key.json").write_text("[{]", encoding="utf-8")
    assert cached_timings(tmp_path, "key", measure) == first
    assert len(calls) == 2, "a damaged file is found out anew"


def test_a_finding_holds_for_one_network_batch_and_share_of_frozen_blocks(network: Network) -> None:
    batch = torch.zeros(4, 3, 32, 32)
    key = timings_key(network, batch, CHOICES)
    assert timings_key(build_like(network), batch, CHOICES) == key
    assert timings_key(network, batch[:2], CHOICES) != key
    assert timings_key(network, batch, CHOICES[:2]) != key
    frozen = build_like(network)
    frozen.blocks[0].requires_grad_(False)
    assert timings_key(frozen, batch, CHOICES) != key


def chosen(network: Network, compute: Compute, folder: Path, size: int = 32, epochs: int = 1) -> Mode | None:
    """The mode of a training of eight images."""
    images = np.zeros((8, size, size, 3), np.uint8)
    preprocessing = builder_for("resnet18").preprocessing("resnet18", size)
    task = FineTuningData(
        Extractor(images, "none", preprocessing, ArrayCache(folder), CPU), np.arange(8) % 3, np.ones(8, dtype=bool)
    )
    settings = Train(epochs=epochs, batch_size=4)
    plan = STRATEGIES["finetune"].plan(len(network.blocks), settings)
    return ModeAutotuner(compute, folder)(network, plan, task, settings, CPU)


def test_a_short_training_has_no_trial_and_is_computed_as_torch_is_set(tmp_path: Path) -> None:
    network = build_network("resnet18", 3, size=32)
    assert chosen(network, Compute(), tmp_path) is None
    assert not (tmp_path / "trials").exists()


def test_a_long_training_has_a_trial_and_keeps_it(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trial, "LEAST_GMACS", 1e-6)
    assert training_gmacs(network, blank_image(32), 8, 2) == pytest.approx(
        2 * training_gmacs(network, blank_image(32), 8, 1)
    )
    mode = chosen(network, Compute(threads=1, device="cpu"), tmp_path)
    assert mode in modes_to_try(CPU, 1)
    assert f"computing in {mode}: " in capsys.readouterr().out
    (kept,) = (tmp_path / "trials").glob("*.json")
    before = kept.read_bytes()
    assert chosen(network, Compute(threads=1, device="cpu"), tmp_path) == mode
    assert kept.read_bytes() == before


@pytest.mark.parametrize(("name", "precision"), [("fp32", "32-true"), ("bf16", "bf16-mixed"), ("fp16", "16-mixed")])
def test_a_named_precision_is_taken(network: Network, tmp_path: Path, name: str, precision: str) -> None:
    compute = Compute(precision=name, threads=2)  # type: ignore[arg-type]
    assert chosen(network, compute, tmp_path, epochs=100_000) == Mode(precision, False, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layout", "size", "groups", "device", "taken"),
    [
        ("NCHW", LARGE, 1, "cpu", Mode("32-true", True, 2)),
        ("NCHW", LARGE - 1, 1, "cpu", None),
        ("NCHW", LARGE - 1, 3, "cpu", Mode("32-true", True, 2)),
        ("NHWC", LARGE, 3, "cpu", None),
        ("NLC", LARGE, 3, "cpu", None),
        ("NCHW", LARGE, 3, "cuda", None),
    ],
)
def test_large_maps_and_those_of_grouped_convolutions_lie_channels_last_without_a_trial(
    layout: Layout, size: int, groups: int, device: str, taken: Mode | None
) -> None:
    block = torch.nn.Conv2d(3, 3, 1, groups=groups)
    given = Network(BackboneParts((block,), torch.nn.Identity(), 3, layout), 2)
    assert default_mode(given, size, torch.device(device), 2) == taken


@pytest.mark.parametrize(("arch", "size"), [("resnet18", LARGE), ("shufflenet_v2_x0_5", 32)])
def test_a_short_training_takes_what_is_usual_for_its_images_and_network(arch: str, size: int, tmp_path: Path) -> None:
    network = build_network(arch, 3, size=size)
    taken = chosen(network, Compute(threads=1), tmp_path, size)
    assert taken == Mode("32-true", True, 1)
    assert not (tmp_path / "trials").exists()
