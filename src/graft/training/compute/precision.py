"""The compute mode of a training step: precision, memory format and thread count."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from graft.models.backbone import Network

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


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

# Sides of images in pixels from which on channels last is taken without a trial, whatever the convolutions.
LARGE = 128


def full_precision_mode(threads: int) -> Mode:
    """Float32 with channels first: what torch does when nobody says anything."""
    return Mode("32-true", channels_last=False, threads=threads)


def default_mode(network: Network, size: int, device: torch.device, threads: int) -> Mode | None:
    """What is taken for images of ``size`` px without a trial, where a training is over before one would pay.

    On a CPU maps lie channels last where they are large, and at any size where convolutions are grouped: a training
    step in float32 takes 0.71 to 0.93 of the time at 224 px (ten convolutional networks), and 0.4 to 0.9 at 32 to 96 px
    if they are grouped (EfficientNet-Lite, MobileNet, ShuffleNet, RegNet). ResNet-18, whose convolutions are not, takes
    1.2 times as long at 32 and 64 px. None: as torch is set.
    """
    if device.type != "cpu" or network.layout != "NCHW" or (size < LARGE and not _has_grouped(network)):
        return None
    return Mode("32-true", channels_last=True, threads=threads)


def _has_grouped(network: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) and module.groups > 1 for module in network.modules())


def modes_to_try(device: torch.device, threads: int) -> list[Mode]:
    """What may be tried on ``device`` with at most so many ``threads``, plain float32 first."""
    precisions: list[Precision] = ["32-true"]
    if device.type == "cuda":
        precisions.append("bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed")
    elif device.type == "cpu" and has_bfloat16_cpu():
        precisions.append("bf16-mixed")
    counts = [threads] if device.type != "cpu" or threads == 1 else [threads, max(1, threads // 2)]
    return [Mode(precision, last, count) for count in counts for precision in precisions for last in (False, True)]


def has_bfloat16_cpu() -> bool:
    """Whether the CPU multiplies bfloat16 itself (AVX-512 BF16 or AMX); others only imitate it."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@contextmanager
def thread_count(mode: Mode | None) -> Iterator[None]:
    """Within it torch computes with the mode's threads; without a mode, with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if mode is None else mode.threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def to_memory_format(value: Tensor, mode: Mode | None) -> Tensor:
    """A batch of maps (n, c, h, w) in the mode's memory format; anything else, or without a mode, as it is."""
    if mode is None or value.ndim != 4:
        return value
    return value.contiguous(memory_format=torch.channels_last if mode.channels_last else torch.contiguous_format)


def set_memory_format(network: nn.Module, mode: Mode) -> nn.Module:
    """Bring a network's weights into the mode's memory format, in place."""
    layout = torch.channels_last if mode.channels_last else torch.contiguous_format
    return network.to(memory_format=layout)  # type: ignore[call-overload, no-any-return]
