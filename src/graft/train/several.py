"""Several devices: one process each, every batch divided among them, gradients averaged by DistributedDataParallel.

The result is that of one process, but for the order in which numbers are added; blocks whose batch normalisation learns
the batches' own statistics (training from scratch) are the exception, as each process sees its share alone. Mixed
images (mixup, cutmix) are mixed within a share.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from graft.determinism import available_cores
from graft.files import whole_folder

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def share_of(batch: Tensor, fabric: Fabric) -> Tensor:
    """This process's part of a batch of indices (n): all of it, if there are fewer images than processes."""
    if fabric.world_size == 1 or len(batch) < fabric.world_size:
        return batch
    return torch.tensor_split(batch, fabric.world_size)[fabric.global_rank]


def weight_of(labels: Tensor, share: Tensor, batch: Tensor, of_classes: Tensor | None, fabric: Fabric) -> float:
    """What this process's mean loss counts, so that the mean over processes is the mean over the batch.

    Shares may differ by one image, and with weighted classes each mean has its own sum of weights below the line.
    """
    if fabric.world_size == 1 or len(batch) < fabric.world_size:
        return 1.0
    if of_classes is None:
        return fabric.world_size * len(share) / len(batch)
    weights = of_classes.cpu()[labels]
    return float(fabric.world_size * weights[share].sum() / weights[batch].sum())


def mean_of(loss: Tensor, fabric: Fabric) -> float:
    """The mean of a loss over all processes."""
    mean = fabric.all_reduce(loss.detach(), reduce_op="mean")
    assert isinstance(mean, Tensor)
    return float(mean)


def threads_of(devices: int) -> int:
    """CPU threads of each of so many processes."""
    return max(1, available_cores() // devices)


@contextmanager
def written_once(folder: Path, fabric: Fabric) -> Iterator[Path]:
    """Where an output folder is written: by the first process whole in its place, by others nowhere that lasts."""
    if fabric.is_global_zero:
        with whole_folder(folder) as beside:
            yield beside
    else:
        with tempfile.TemporaryDirectory() as aside:
            yield Path(aside)
