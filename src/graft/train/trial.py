"""Which mode trains a network fastest here: a short timed trial, kept per machine.

What is fastest differs from network to network: on a CPU with AMX, ResNet-18 trains three times as fast in bfloat16 and
MobileNetV3 half as fast. So a few training steps are timed in each mode. The modes take turns, because machines are
shared and noisy, and each is judged by its best step, which other work disturbs least. Whichever leads then has to
prove it in pairs of steps, one of its own and one of plain float32 right after. Plain float32 stays unless another mode
is clearly faster, and the finding is kept, so that training again takes the same mode and gives the same bytes.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graft.determinism import available_cores
from graft.features.keys import key_of
from graft.files import write_json
from graft.settings import Compute
from graft.train.compiling import as_run, require_compiler, run_once
from graft.train.precision import PRECISIONS, Mode, Precision, computing, laid_out, lay_out, modes, plain, untried
from graft.zoo.cost import cost_of
from graft.zoo.network import Network

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# How much faster than plain float32 a mode has to be to be taken: less is within the noise of a shared machine.
MARGIN = 1.1
# Modes that are this many times slower than the fastest are not tried again.
HOPELESS = 1.5
ROUNDS = 4
# Pairs of steps in which the leading mode is held against plain float32; their median counts.
PAIRS = 5
# Training of fewer multiply-accumulates than this (in billions, three times the forward pass) is over before a trial
# would pay. A count, not a time: whether there is a trial must not depend on how busy the machine is.
WORTH_A_TRIAL = 5000.0
# Raise it whenever the meaning of what is kept changes.
VERSION = 2


@dataclass(frozen=True)
class Trial:
    """What a trial found: the best milliseconds of a training step in each mode, plain float32 first.

    Those of a mode that was held against plain float32 in pairs are that one's, over how many times as fast it was.
    """

    milliseconds: tuple[tuple[Mode, float], ...]

    @property
    def chosen(self) -> Mode:
        """The fastest mode, if it is clearly faster than plain float32; else that."""
        (plain, slowest), *others = self.milliseconds
        mode, fastest = min(others, key=lambda item: item[1], default=(plain, slowest))
        return mode if fastest * MARGIN <= slowest else plain

    @property
    def speed_up(self) -> float:
        """How many times as fast as plain float32 the chosen mode is; 1 where that is chosen."""
        times = dict(self.milliseconds)
        return self.milliseconds[0][1] / times[self.chosen]


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


def choose_mode(
    ahead: Ahead, compute: Compute, device: torch.device, folder: Path, fabric_with: Callable[[Precision], Fabric]
) -> Mode | None:
    """What ``compute.precision`` names; where it is ``auto``, what a trial finds, if the training is worth one.

    With ``compute.compile`` a training that is worth a trial is compiled where a second trial finds that faster.
    None leaves everything as torch is set: float32, weights as they come.

    Args:
        ahead: the training that lies ahead.
        compute: the settings.
        device: what it runs on.
        folder: where trials are kept.
        fabric_with: Fabric on that device with a precision.

    Raises:
        ConfigError: it is to be compiled, and there is no C++ compiler.
    """
    if compute.compile:
        require_compiler()
    threads = compute.threads or available_cores()
    worth = bool(ahead.epochs) and ahead.work >= WORTH_A_TRIAL
    mode: Mode | None
    if compute.precision != "auto":
        mode = Mode(PRECISIONS[compute.precision], device.type == "cuda", threads)
    elif worth:
        mode = _by_trial(ahead, modes(device, threads), folder, fabric_with)
    else:
        mode = untried(ahead.network, ahead.size, device, threads)
    if not compute.compile:
        return mode
    if not worth:
        print("not compiled: the training is over before compiling would pay", flush=True)
        return mode
    mode = mode or plain(threads)
    return _by_trial(ahead, [mode, dataclasses.replace(mode, compiled=True)], folder, fabric_with)


def _by_trial(ahead: Ahead, choices: Sequence[Mode], folder: Path, fabric_with: Callable[[Precision], Fabric]) -> Mode:
    images = torch.randn(min(ahead.batch, ahead.images), 3, ahead.size, ahead.size)
    network = ahead.network.eval()
    with torch.no_grad():
        batch = torch.cat([network.trunk(ahead.start)(part) for part in torch.split(images, 8)])
    tail = network.ending(ahead.start)
    key = trial_key(tail, batch, choices)
    trial = kept_trial(folder, key, lambda: try_modes(tail, batch, network.head.out_features, choices, fabric_with))
    print(f"computing in {trial.chosen}: {trial.speed_up:.2f} times as fast as {choices[0]}", flush=True)
    return trial.chosen


def try_modes(
    network: nn.Module, batch: Tensor, classes: int, choices: Sequence[Mode], fabric_with: Callable[[Precision], Fabric]
) -> Trial:
    """Time training steps of ``network`` on ``batch`` (n, ...) in each of ``choices``, plain float32 first.

    The network itself is left as it is. The first step of each mode is not counted: it pays for memory and kernels.
    A mode in which the network cannot be compiled is left out.
    """
    steps = {mode: step_of(network, batch, classes, mode, fabric_with(mode.precision)) for mode in choices}
    runs = [mode for mode, step in steps.items() if run_once(step, mode)]
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for mode in runs:
            if best[mode] == float("inf") or best[mode] <= HOPELESS * min(best.values()):
                best[mode] = min(best[mode], 1000 * _seconds(steps[mode]))
    proved = {choices[0]}
    while (leader := Trial(tuple(best.items())).chosen) not in proved:
        best[leader] = best[choices[0]] / _times_as_fast(steps[leader], steps[choices[0]])
        proved.add(leader)
    return Trial(tuple(best.items()))


def _seconds(step: Callable[[], None]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def _times_as_fast(step: Callable[[], None], other: Callable[[], None]) -> float:
    """How many times as fast as ``other`` a step is: what disturbs the machine for a while disturbs both of a pair."""
    return statistics.median(_seconds(other) / _seconds(step) for _ in range(PAIRS))


def step_of(network: nn.Module, batch: Tensor, classes: int, mode: Mode, fabric: Fabric) -> Callable[[], None]:
    """One training step on a copy of ``network`` in a mode, to be called as often as wanted."""
    own = lay_out(copy.deepcopy(network).to(fabric.device), mode).train()
    trained = [parameter for parameter in own.parameters() if parameter.requires_grad]
    model, optimizer = fabric.setup(as_run(own, mode), torch.optim.AdamW(trained, lr=1e-6, fused=True))
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
        return Trial(tuple((Mode(**row["mode"]), float(row["milliseconds"])) for row in rows))
    except (OSError, ValueError, KeyError, TypeError):
        found = measure()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, [{"mode": asdict(mode), "milliseconds": value} for mode, value in found.milliseconds])
    return found


def trial_key(network: nn.Module, batch: Tensor, choices: Sequence[Mode]) -> str:
    """What a trial's finding depends on: the network's shape, what is trained, the batch, torch and the machine."""
    trained = [(name, tuple(value.shape), value.requires_grad) for name, value in network.named_parameters()]
    machine = (platform.machine(), platform.processor(), torch.backends.cpu.get_cpu_capability(), available_cores())
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    modes = list(map(str, choices))
    return key_of(VERSION, str(network), trained, tuple(batch.shape), modes, torch.__version__, machine, gpu)
