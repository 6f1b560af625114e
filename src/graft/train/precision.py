"""Which precision, memory format and thread count train a network fastest here: a short timed trial, kept per machine.

What is fastest differs from network to network: on a CPU with AMX, ResNet-18 trains three times as fast in bfloat16 and
MobileNetV3 half as fast. So a few training steps are timed in each mode. The modes take turns, because machines are
shared and noisy, and each is judged by its best step, which other work disturbs least. Plain float32 stays unless
another mode is clearly faster, and the finding is kept, so that training again takes the same mode and gives the same
bytes.
"""

from __future__ import annotations

import copy
import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graft.determinism import available_cores
from graft.files import write_json

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]

# How much faster than plain float32 a mode has to be to be taken: less is within the noise of a shared machine.
MARGIN = 1.1
# Modes that are this many times slower than the fastest are not tried again.
HOPELESS = 1.5
ROUNDS = 4
# Training of fewer multiply-accumulates than this (in billions, three times the forward pass) is over before a trial
# would pay. A count, not a time: whether there is a trial must not depend on how busy the machine is.
WORTH_A_TRIAL = 3000.0
# Raise it whenever the meaning of what is kept changes.
VERSION = 1


@dataclass(frozen=True)
class Mode:
    """How training steps are computed.

    Attributes:
        precision: Fabric's name; the weights stay in float32 with each of them.
        channels_last: whether weights and maps lie in memory channel by channel within each position.
        threads: CPU threads.
    """

    precision: Precision
    channels_last: bool
    threads: int

    def __str__(self) -> str:
        layout = "channels last" if self.channels_last else "channels first"
        return f"{NAMES[self.precision]}, {layout}, {self.threads} thread{'s' if self.threads > 1 else ''}"


NAMES: dict[Precision, str] = {"32-true": "float32", "bf16-mixed": "bfloat16", "16-mixed": "float16"}
PRECISIONS: dict[str, Precision] = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


@dataclass(frozen=True)
class Trial:
    """What a trial found: the best milliseconds of a training step in each mode, plain float32 first."""

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


def plain(threads: int) -> Mode:
    """Float32 with channels first: what torch does when nobody says anything."""
    return Mode("32-true", channels_last=False, threads=threads)


def usual(precision: str, threads: int) -> Mode:
    """The mode that is taken without a trial; ``precision`` is one of ``PRECISIONS``."""
    return Mode(PRECISIONS[precision], channels_last=True, threads=threads)


def modes(device: torch.device, threads: int) -> list[Mode]:
    """What may be tried on ``device`` with at most so many ``threads``, plain float32 first."""
    precisions: list[Precision] = ["32-true"]
    if device.type == "cuda":
        precisions.append("bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed")
    elif device.type == "cpu" and computes_bfloat16():
        precisions.append("bf16-mixed")
    counts = [threads] if device.type != "cpu" or threads == 1 else [threads, max(1, threads // 2)]
    return [Mode(precision, last, count) for count in counts for precision in precisions for last in (False, True)]


def computes_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 itself (AVX-512 BF16 or AMX); others only imitate it."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@contextmanager
def computing(mode: Mode) -> Iterator[None]:
    """Within it torch computes with the mode's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(mode.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def laid_out(value: Tensor, mode: Mode) -> Tensor:
    """A batch of maps (n, c, h, w) in the mode's memory format; anything else as it is."""
    if value.ndim != 4:
        return value
    return value.contiguous(memory_format=torch.channels_last if mode.channels_last else torch.contiguous_format)


def lay_out(network: nn.Module, mode: Mode) -> nn.Module:
    """Bring a network's weights into the mode's memory format, in place."""
    layout = torch.channels_last if mode.channels_last else torch.contiguous_format
    return network.to(memory_format=layout)  # type: ignore[call-overload, no-any-return]


def try_modes(
    network: nn.Module, batch: Tensor, classes: int, choices: Sequence[Mode], fabric_with: Callable[[Precision], Fabric]
) -> Trial:
    """Time training steps of ``network`` on ``batch`` (n, ...) in each of ``choices``, plain float32 first.

    The network itself is left as it is. The first step of each mode is not counted: it pays for memory and kernels.
    """
    steps = {mode: step_of(network, batch, classes, mode, fabric_with(mode.precision)) for mode in choices}
    for step in steps.values():
        step()
    best = dict.fromkeys(choices, float("inf"))
    for _ in range(ROUNDS):
        for mode in choices:
            if best[mode] == float("inf") or best[mode] <= HOPELESS * min(best.values()):
                began = time.perf_counter()
                steps[mode]()
                best[mode] = min(best[mode], 1000 * (time.perf_counter() - began))
    return Trial(tuple(best.items()))


def step_of(network: nn.Module, batch: Tensor, classes: int, mode: Mode, fabric: Fabric) -> Callable[[], None]:
    """One training step on a copy of ``network`` in a mode, to be called as often as wanted."""
    own = lay_out(copy.deepcopy(network).to(fabric.device), mode).train()
    trained = [parameter for parameter in own.parameters() if parameter.requires_grad]
    model, optimizer = fabric.setup(own, torch.optim.AdamW(trained, lr=1e-6))
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
    said = (
        VERSION,
        str(network),
        trained,
        tuple(batch.shape),
        list(map(str, choices)),
        torch.__version__,
        machine,
        gpu,
    )
    return hashlib.sha256(repr(said).encode()).hexdigest()
