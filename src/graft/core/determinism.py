"""Same seed, same bytes: seeds derived by name, one thread count, deterministic kernels."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, *names: object) -> int:
    """A seed in [0, 2**63) for one purpose, from the project's seed and the purpose's names.

    Derived seeds do not depend on the order in which work is done, so that a candidate or a sample gets the
    same random numbers whether it runs first, last, alone or on another worker.
    """
    text = "/".join(str(item) for item in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(seed: int, *names: object) -> torch.Generator:
    """A CPU generator of its own for one purpose (see :func:`derive_seed`)."""
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, *names))


def available_cores(cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores this process may use, at least 1: fewer than the machine has where it is bound to some, or in a container.

    A container's limit is a share of time, which the machine's number of cores knows nothing of; half a core is one.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, _quota(cgroups))))


def _quota(cgroups: Path) -> float:
    """The CPU quota of the control group (cgroup v2, else v1), in cores."""
    try:
        quota, period = (cgroups / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota, period = ((cgroups / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        except OSError:
            return math.inf
    try:
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else math.inf
    except ValueError:  # `max`: no limit
        return math.inf


def make_deterministic(threads: int | None = None) -> None:
    """Fix torch's thread count (None: all cores this process may use) and take deterministic kernels only.

    Torch then also fills all new memory with NaN, so that a kernel that forgot to write would show. That takes an
    eighth to a quarter of a training step (ResNet-18 at 224 px), and no byte of any result depends on it.
    """
    import torch
    from torch.utils import deterministic

    torch.set_num_threads(threads or available_cores())
    # The same switch as torch.use_deterministic_algorithms, which imports the compiler first: 1.1 s and 75 MB.
    torch.set_deterministic_debug_mode("error")
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
