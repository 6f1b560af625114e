"""The device that training runs on, through Lightning Fabric."""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING

from graft.core.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from lightning_fabric import Fabric

    from graft.training.compute.precision import Precision

FULL_PRECISION: Precision = "32-true"


def fabric_for(device: str, precision: Precision = FULL_PRECISION) -> Fabric:
    """Fabric on one device: ``auto`` takes a GPU if there is one.

    Raises:
        ConfigError: this machine has no such device, or torch cannot use it.
    """
    from lightning_fabric import Fabric

    require_device(device)
    # It tells of its precision each time; what was chosen and why is said by graft.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    accelerator, _, index = device.partition(":")
    return Fabric(accelerator=accelerator, devices=[int(index)] if index else 1, precision=precision)


def require_device(device: str) -> None:
    """Refuse a device that this machine has not; to ask for one by name imports torch.

    Raises:
        ConfigError: there is no such device, or torch cannot use it.
    """
    kind, _, index = device.partition(":")
    if kind in {"auto", "cpu"}:
        return
    import torch

    gpus = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if kind in gpus and gpus[kind] <= int(index or 0):
        raise ConfigError(
            f"there is no {device!r} here: torch {torch.__version__} can use {gpus[kind]} devices of that kind",
            where="compute.device",
            remedy="set compute.device: auto, which takes a GPU if there is one; if there is, install its driver and a "
            "torch that was built for it",
        )


@cache
def device_for(device: str) -> torch.device:
    """The device that :func:`fabric_for` takes, for what only runs networks."""
    return fabric_for(device).device


def precision_of(fabric: Fabric) -> str:
    """What Fabric calculates in, by its own names, such as ``32-true`` or ``bf16-mixed``."""
    return str(fabric.strategy.precision.precision)
