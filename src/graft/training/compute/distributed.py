"""Data-parallel training: one process per device, each batch divided, gradients averaged by DistributedDataParallel.

The result is that of one process, but for the order in which numbers are added; blocks whose batch normalisation learns
the batches' own statistics (training from scratch) are the exception, as each process sees its share alone. Mixed
images (mixup, cutmix) are mixed within a share.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from graft.core.compat.malloc import keep_freed_memory
from graft.core.compat.openmp import wait_briefly
from graft.core.determinism import available_cores, make_deterministic
from graft.core.errors import ConfigError, GraftError, TrainingError
from graft.core.files import atomic_dir
from graft.core.settings import Compute
from graft.training.compute.devices import fabric_for
from graft.training.compute.precision import PRECISIONS

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def distributed_fabric(compute: Compute) -> Fabric:
    """Fabric on ``compute.devices`` devices.

    With several, the precision is the same for all networks: bfloat16 on GPUs that have it, where it is left open.

    Raises:
        ConfigError: there are fewer GPUs than devices wanted.
    """
    from lightning_fabric import Fabric

    if compute.devices == 1:
        return fabric_for(compute.device)
    accelerator = compute.device.partition(":")[0]
    gpus = torch.cuda.device_count() if accelerator in {"auto", "cuda"} else 0
    if accelerator == "cuda" and gpus < compute.devices:
        raise ConfigError(
            f"{compute.devices} devices are to train together, and this machine has {gpus} GPUs",
            where="compute.devices",
            remedy="ask for fewer, or set compute.device: cpu",
        )
    chosen = "cuda" if gpus >= compute.devices else "cpu"
    precision = PRECISIONS.get(compute.precision, "bf16-mixed" if chosen == "cuda" else "32-true")
    return Fabric(accelerator=chosen, devices=compute.devices, strategy="ddp_spawn", precision=precision)


def launch(work: Callable[..., None], compute: Compute, *given: object) -> None:
    """Call ``work(fabric, *given)`` in every process; with one device, in this one.

    Raises:
        GraftError: whatever of that kind ``work`` raises in the first process.
    """
    fabric = distributed_fabric(compute)
    if fabric.world_size == 1:
        work(fabric, *given)
        return
    refused = fabric.launch(partial(_in_process, work=work, compute=compute, given=given))
    if refused is not None:
        what, where, remedy = refused
        raise TrainingError(what, where=where, remedy=remedy)


def _in_process(
    fabric: Fabric, work: Callable[..., None], compute: Compute, given: tuple[object, ...]
) -> tuple[str, str | None, str | None] | None:
    """One process of several: an error that a user can act on crosses as its three parts."""
    wait_briefly()
    keep_freed_memory()
    make_deterministic(compute.threads or max(1, available_cores() // fabric.world_size))
    try:
        work(fabric, *given)
    except GraftError as error:
        return error.what, error.where, error.remedy
    return None


def local_indices(batch: Tensor, fabric: Fabric) -> Tensor:
    """This process's part of a batch of indices (n): all of it, if there are fewer images than processes."""
    if fabric.world_size == 1 or len(batch) < fabric.world_size:
        return batch
    return torch.tensor_split(batch, fabric.world_size)[fabric.global_rank]


def loss_weight(share: Tensor, batch: Tensor, weights: Tensor | None, fabric: Fabric) -> float:
    """The factor of this process's mean loss that makes the mean over processes the mean over the batch.

    Shares may differ by one image, and with weighted images each mean has its own sum of weights below the line.

    Args:
        share: indices of this process's images.
        batch: indices of all images of the step.
        weights: of every training image (n); None: all count alike.
        fabric: knows how many processes there are.
    """
    if fabric.world_size == 1 or len(batch) < fabric.world_size:
        return 1.0
    if weights is None:
        return fabric.world_size * len(share) / len(batch)
    return float(fabric.world_size * weights[share].sum() / weights[batch].sum())


def mean_loss(loss: Tensor, fabric: Fabric) -> float:
    """The mean of a loss over all processes."""
    mean = fabric.all_reduce(loss.detach(), reduce_op="mean")
    assert isinstance(mean, Tensor)
    return float(mean)


@contextmanager
def written_once(folder: Path, fabric: Fabric) -> Iterator[Path]:
    """Where an output folder is written: by the first process whole in its place, by others nowhere that lasts."""
    if fabric.is_global_zero:
        with atomic_dir(folder) as beside:
            yield beside
    else:
        with tempfile.TemporaryDirectory() as aside:
            yield Path(aside)
