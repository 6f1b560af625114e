"""The share of this machine that each worker gets: number of workers, threads and GPU of each."""

from __future__ import annotations

import os
from dataclasses import dataclass

from graft.core.determinism import available_cores
from graft.core.settings import Compute


@dataclass(frozen=True)
class ResourceShare:
    """How a machine is divided among workers.

    Attributes:
        workers: how many work at once.
        threads: of each.
        gpus: values for ``CUDA_VISIBLE_DEVICES``, dealt out in turn; empty: every worker sees what this process sees.
    """

    workers: int
    threads: int
    gpus: tuple[str, ...] = ()

    def variables(self, slot: int) -> dict[str, str]:
        """Environment variables of the worker in ``slot`` (from 0)."""
        return {"CUDA_VISIBLE_DEVICES": self.gpus[slot % len(self.gpus)]} if self.gpus else {}


def share_of(compute: Compute) -> ResourceShare:
    """The share on this machine."""
    return divided(compute, available_cores(), visible_gpus(compute.device))


def divided(compute: Compute, cores: int, gpus: tuple[str, ...]) -> ResourceShare:
    """The share on a machine of ``cores`` and ``gpus``.

    Where the settings leave it open: one worker per GPU; without GPUs one per ``compute.threads`` cores, else per core.
    """
    workers = compute.workers or len(gpus) or max(1, cores // (compute.threads or 1))
    return ResourceShare(workers, compute.threads or max(1, cores // workers), gpus)


def visible_gpus(device: str) -> tuple[str, ...]:
    """GPUs to deal out; none where the settings name one, or where there is at most one."""
    if device not in {"auto", "cuda"}:
        return ()
    import torch

    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = tuple(visible.split(",")) if visible else tuple(map(str, range(count)))
    return names[:count] if count > 1 else ()
