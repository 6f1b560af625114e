"""How a machine is divided among workers: how many there are, threads for each, a GPU for each."""

from __future__ import annotations

import os
from dataclasses import dataclass

from graft.determinism import available_cores
from graft.settings import Compute


@dataclass(frozen=True)
class Share:
    """What the workers of one machine get.

    Attributes:
        workers: how many work at once.
        threads: for each.
        gpus: names for ``CUDA_VISIBLE_DEVICES``, dealt out in turn; empty: each worker sees what this process sees.
    """

    workers: int
    threads: int
    gpus: tuple[str, ...] = ()

    def variables(self, place: int) -> dict[str, str]:
        """What the worker at ``place`` (from 0) finds in its environment."""
        return {"CUDA_VISIBLE_DEVICES": self.gpus[place % len(self.gpus)]} if self.gpus else {}


def share_of(compute: Compute) -> Share:
    """What the settings ask for on this machine.

    Where they leave it open: a worker for each GPU; without GPUs one for each ``compute.threads`` cores, or where
    that is open as well, one for each core.
    """
    return divided(compute, available_cores(), gpus_for(compute.device))


def divided(compute: Compute, cores: int, gpus: tuple[str, ...]) -> Share:
    """The same for a machine with so many cores and these GPUs."""
    workers = compute.workers or len(gpus) or max(1, cores // (compute.threads or 1))
    return Share(workers, compute.threads or max(1, cores // workers), gpus)


def gpus_for(device: str) -> tuple[str, ...]:
    """The GPUs to deal out; none where one is named, or where there is at most one."""
    if device not in {"auto", "cuda"}:
        return ()
    import torch

    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = tuple(visible.split(",")) if visible else tuple(map(str, range(count)))
    return names[:count] if count > 1 else ()
