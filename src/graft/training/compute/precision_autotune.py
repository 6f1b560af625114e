"""The precision trial: a few timed training steps say which mode trains a network fastest here; kept per machine.

What is fastest differs from network to network: on a CPU with AMX, ResNet-18 trains three times as fast in bfloat16 and
MobileNetV3 half as fast. The modes take turns, because machines are shared and noisy, and each is held against plain
float32 in the same round. The finding is kept, so that training again takes the same mode and gives the same bytes.
"""

from __future__ import annotations

import copy
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from graft.core.determinism import available_cores
from graft.core.files import write_json
from graft.core.settings import Compute, Train
from graft.features.keys import key_of
from graft.modalities.preprocessor import Inputs
from graft.models.backbone import Network
from graft.models.batch import concatenate, map_tensors, split, tensors_of
from graft.models.flops import cost_of
from graft.training.compute.devices import fabric_for
from graft.training.compute.precision import (
    PRECISIONS,
    Mode,
    Precision,
    default_mode,
    modes_to_try,
    set_memory_format,
    thread_count,
    to_memory_format,
)
from graft.training.strategies import Plan

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from graft.training.finetune import FineTuningData

# How much faster than plain float32 a mode has to be to be taken: less is within the noise of a shared machine.
MARGIN = 1.1
ROUNDS = 5
# Modes that take this many times as long as plain float32 in the first round are not timed again.
HOPELESS = 1.5
# Training of fewer multiply-accumulates than this (in billions, three times the forward pass) is over before a trial
# would pay. A count, not a time: whether there is a trial must not depend on how busy the machine is.
LEAST_GMACS = 5000.0
# Raise it whenever the meaning of what is kept changes.
VERSION = 3


@dataclass(frozen=True)
class Timings:
    """How many times as fast as plain float32 a training step is in each mode, plain float32 (1.0) first."""

    speed_ups: tuple[tuple[Mode, float], ...]

    @property
    def chosen(self) -> Mode:
        """The fastest mode, if it is clearly faster than plain float32; else that."""
        mode, speed_up = max(self.speed_ups, key=lambda item: item[1])
        return mode if speed_up >= MARGIN else self.speed_ups[0][0]


def usual_mode(
    network: Network, plan: Plan, task: FineTuningData, settings: Train, device: torch.device
) -> Mode | None:
    """The mode that is taken without a trial; None: as torch is set."""
    return default_mode(network, task.extractor.preprocessing.size, device, torch.get_num_threads())


@dataclass(frozen=True)
class ModeAutotuner:
    """Chooses the mode that a network is trained in; can be sent to another process.

    Attributes:
        compute: the settings.
        folder: where trials are kept.
    """

    compute: Compute
    folder: Path

    def __call__(
        self, network: Network, plan: Plan, task: FineTuningData, settings: Train, device: torch.device
    ) -> Mode | None:
        """What ``compute.precision`` names; if that is ``auto``, what a trial finds where the training is worth one."""
        threads = self.compute.threads or available_cores()
        if self.compute.precision != "auto":
            return Mode(PRECISIONS[self.compute.precision], device.type == "cuda", threads)
        preprocessing, samples = task.extractor.preprocessing, int(task.rows.sum())
        one = preprocessing.collate(preprocessing.loader.random_rows(1))
        if plan.stage is None or training_gmacs(network, one, samples, plan.epochs) < LEAST_GMACS:
            return default_mode(network, preprocessing.size, device, threads)
        batch = preprocessing.collate(preprocessing.loader.random_rows(min(settings.batch_size, samples)))
        frozen, tail = network.eval().blocks_before(plan.stage.start), network.classifier_from(plan.stage.start)
        with torch.no_grad():
            inputs = concatenate([frozen(part) for part in split(batch, 8)])
        choices, classes = modes_to_try(device, threads), network.head.out_features
        fabric_with = partial(fabric_for, self.compute.device)
        key = timings_key(tail, inputs, choices)
        trial = cached_timings(self.folder, key, lambda: time_modes(tail, inputs, classes, choices, fabric_with))
        speed_up = dict(trial.speed_ups)[trial.chosen]
        print(f"computing in {trial.chosen}: {speed_up:.2f} times as fast as {choices[0]}", flush=True)
        return trial.chosen


def training_gmacs(network: Network, sample: Inputs, samples: int, epochs: int) -> float:
    """Multiply-accumulates of a training in billions; forward and backward pass are three forward passes."""
    return 3 * cost_of(network, sample).gmacs * samples * epochs


def time_modes(
    network: nn.Module, batch: Inputs, classes: int, choices: Sequence[Mode], fabric_with: Callable[[Precision], Fabric]
) -> Timings:
    """Time training steps of ``network`` on ``batch`` in each of ``choices``, plain float32 first.

    The network itself is left as it is. The first step of each mode is not counted: it pays for memory and kernels.
    """
    steps = {mode: training_step(network, batch, classes, mode, fabric_with(mode.precision)) for mode in choices}
    for step in steps.values():
        step()
    rounds: list[dict[Mode, float]] = []
    for _ in range(ROUNDS):
        seconds = {mode: _seconds(step) for mode, step in steps.items()}
        rounds.append({mode: seconds[choices[0]] / value for mode, value in seconds.items()})
        steps = {mode: step for mode, step in steps.items() if rounds[0][mode] * HOPELESS >= 1}
    return Timings(tuple((mode, statistics.median(found[mode] for found in rounds)) for mode in steps))


def _seconds(step: Callable[[], None]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def training_step(network: nn.Module, batch: Inputs, classes: int, mode: Mode, fabric: Fabric) -> Callable[[], None]:
    """One training step on a copy of ``network`` in a mode, to be called as often as wanted."""
    own = set_memory_format(copy.deepcopy(network).to(fabric.device), mode).train()
    trained = [parameter for parameter in own.parameters() if parameter.requires_grad]
    model, optimizer = fabric.setup(own, torch.optim.AdamW(trained, lr=1e-6, fused=True))
    inputs = map_tensors(partial(to_memory_format, mode=mode), fabric.to_device(batch))
    labels = torch.arange(len(tensors_of(batch)[0]), device=fabric.device) % classes

    def step() -> None:
        with thread_count(mode):
            optimizer.zero_grad()
            fabric.backward(F.cross_entropy(model(inputs), labels))
            optimizer.step()
            if fabric.device.type == "cuda":
                torch.cuda.synchronize()

    return step


def cached_timings(folder: Path, key: str, measure: Callable[[], Timings]) -> Timings:
    """The trial kept in ``folder`` under ``key``, or ``measure``'s, kept from now on."""
    path = folder / "trials" / f"{key}.json"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return Timings(tuple((Mode(**row["mode"]), float(row["speed_up"])) for row in rows))
    except (OSError, ValueError, KeyError, TypeError):
        found = measure()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, [{"mode": asdict(mode), "speed_up": value} for mode, value in found.speed_ups])
    return found


def timings_key(network: nn.Module, batch: Inputs, choices: Sequence[Mode]) -> str:
    """What a trial's finding depends on: the network's shape, what is trained, the batch, torch and the machine."""
    trained = [(name, tuple(value.shape), value.requires_grad) for name, value in network.named_parameters()]
    machine = (platform.machine(), platform.processor(), torch.backends.cpu.get_cpu_capability(), available_cores())
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    modes_to_try = list(map(str, choices))
    shapes = [tuple(part.shape) for part in tensors_of(batch)]
    return key_of(VERSION, str(network), trained, shapes, modes_to_try, torch.__version__, machine, gpu)
