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
from torch import Tensor, nn
from torch.nn import functional as F

from graft.core.determinism import available_cores
from graft.core.files import write_json
from graft.core.settings import Compute, Train
from graft.features.keys import key_of
from graft.models.backbone import Network
from graft.models.flops import cost_of
from graft.training.devices import fabric_for
from graft.training.precision import PRECISIONS, Mode, Precision, computing, laid_out, lay_out, modes, untried
from graft.training.strategies import Plan

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from graft.training.finetune import Task

# How much faster than plain float32 a mode has to be to be taken: less is within the noise of a shared machine.
MARGIN = 1.1
ROUNDS = 5
# Modes that take this many times as long as plain float32 in the first round are not timed again.
HOPELESS = 1.5
# Training of fewer multiply-accumulates than this (in billions, three times the forward pass) is over before a trial
# would pay. A count, not a time: whether there is a trial must not depend on how busy the machine is.
WORTH_A_TRIAL = 5000.0
# Raise it whenever the meaning of what is kept changes.
VERSION = 3


@dataclass(frozen=True)
class Trial:
    """How many times as fast as plain float32 a training step is in each mode, plain float32 (1.0) first."""

    speed_ups: tuple[tuple[Mode, float], ...]

    @property
    def chosen(self) -> Mode:
        """The fastest mode, if it is clearly faster than plain float32; else that."""
        mode, speed_up = max(self.speed_ups, key=lambda item: item[1])
        return mode if speed_up >= MARGIN else self.speed_ups[0][0]


@dataclass(frozen=True)
class Ahead:
    """The training that lies ahead.

    Attributes:
        network: whole, with its head for the task.
        start: first unit that is trained in the longest of its stages.
        size: side of the images in pixels.
        images: how many there are.
        epochs: how often each is seen.
        batch: images per step.
    """

    network: Network
    start: int
    size: int
    images: int
    epochs: int
    batch: int

    @property
    def work(self) -> float:
        """Multiply-accumulates in billions; forward and backward pass are three forward passes."""
        return 3 * cost_of(self.network, self.size).gmacs * self.images * self.epochs


@dataclass(frozen=True)
class TrialledMode:
    """Chooses a network's mode by :func:`choose_mode`; can be sent to another process.

    Attributes:
        compute: the settings.
        folder: where trials are kept.
    """

    compute: Compute
    folder: Path

    def __call__(self, network: Network, plan: Plan, task: Task, settings: Train, device: torch.device) -> Mode | None:
        """The mode that ``network`` is trained in by ``plan`` on ``task``."""
        size, images = task.extractor.preprocessing.geometry.size, int(task.rows.sum())
        ahead = Ahead(network, plan.start or 0, size, images, plan.epochs, settings.batch_size)
        return choose_mode(ahead, self.compute, device, self.folder)


def usual_mode(network: Network, plan: Plan, task: Task, settings: Train, device: torch.device) -> Mode | None:
    """The mode that is taken without a trial."""
    return untried(network, task.extractor.preprocessing.geometry.size, device, torch.get_num_threads())


def choose_mode(ahead: Ahead, compute: Compute, device: torch.device, folder: Path) -> Mode | None:
    """What ``compute.precision`` names; where it is ``auto``, what a trial finds, if the training is worth one.

    None leaves everything as torch is set: float32, weights as they come.

    Args:
        ahead: the training that lies ahead.
        compute: the settings.
        device: what it runs on.
        folder: where trials are kept.
    """
    threads = compute.threads or available_cores()
    if compute.precision != "auto":
        return Mode(PRECISIONS[compute.precision], device.type == "cuda", threads)
    if not ahead.epochs or ahead.work < WORTH_A_TRIAL:
        return untried(ahead.network, ahead.size, device, threads)
    images = torch.randn(min(ahead.batch, ahead.images), 3, ahead.size, ahead.size)
    network = ahead.network.eval()
    with torch.no_grad():
        batch = torch.cat([network.blocks_before(ahead.start)(part) for part in torch.split(images, 8)])
    tail, choices = network.classifier_from(ahead.start), modes(device, threads)
    key = trial_key(tail, batch, choices)
    fabric_with, classes = partial(fabric_for, compute.device), network.head.out_features
    trial = kept_trial(folder, key, lambda: try_modes(tail, batch, classes, choices, fabric_with))
    speed_up = dict(trial.speed_ups)[trial.chosen]
    print(f"computing in {trial.chosen}: {speed_up:.2f} times as fast as {choices[0]}", flush=True)
    return trial.chosen


def try_modes(
    network: nn.Module, batch: Tensor, classes: int, choices: Sequence[Mode], fabric_with: Callable[[Precision], Fabric]
) -> Trial:
    """Time training steps of ``network`` on ``batch`` (n, ...) in each of ``choices``, plain float32 first.

    The network itself is left as it is. The first step of each mode is not counted: it pays for memory and kernels.
    """
    steps = {mode: step_of(network, batch, classes, mode, fabric_with(mode.precision)) for mode in choices}
    for step in steps.values():
        step()
    rounds: list[dict[Mode, float]] = []
    for _ in range(ROUNDS):
        seconds = {mode: _seconds(step) for mode, step in steps.items()}
        rounds.append({mode: seconds[choices[0]] / value for mode, value in seconds.items()})
        steps = {mode: step for mode, step in steps.items() if rounds[0][mode] * HOPELESS >= 1}
    return Trial(tuple((mode, statistics.median(found[mode] for found in rounds)) for mode in steps))


def _seconds(step: Callable[[], None]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def step_of(network: nn.Module, batch: Tensor, classes: int, mode: Mode, fabric: Fabric) -> Callable[[], None]:
    """One training step on a copy of ``network`` in a mode, to be called as often as wanted."""
    own = lay_out(copy.deepcopy(network).to(fabric.device), mode).train()
    trained = [parameter for parameter in own.parameters() if parameter.requires_grad]
    model, optimizer = fabric.setup(own, torch.optim.AdamW(trained, lr=1e-6, fused=True))
    inputs = laid_out(batch.to(fabric.device), mode)
    labels = torch.arange(len(batch), device=fabric.device) % classes

    def step() -> None:
        with computing(mode):
            optimizer.zero_grad()
            fabric.backward(F.cross_entropy(model(inputs), labels))
            optimizer.step()
            if fabric.device.type == "cuda":
                torch.cuda.synchronize()

    return step


def kept_trial(folder: Path, key: str, measure: Callable[[], Trial]) -> Trial:
    """The trial kept in ``folder`` under ``key``, or ``measure``'s, kept from now on."""
    path = folder / "trials" / f"{key}.json"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return Trial(tuple((Mode(**row["mode"]), float(row["speed_up"])) for row in rows))
    except (OSError, ValueError, KeyError, TypeError):
        found = measure()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, [{"mode": asdict(mode), "speed_up": value} for mode, value in found.speed_ups])
    return found


def trial_key(network: nn.Module, batch: Tensor, choices: Sequence[Mode]) -> str:
    """What a trial's finding depends on: the network's shape, what is trained, the batch, torch and the machine."""
    trained = [(name, tuple(value.shape), value.requires_grad) for name, value in network.named_parameters()]
    machine = (platform.machine(), platform.processor(), torch.backends.cpu.get_cpu_capability(), available_cores())
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    modes = list(map(str, choices))
    return key_of(VERSION, str(network), trained, tuple(batch.shape), modes, torch.__version__, machine, gpu)
