"""Train one architecture on the source task from random weights, and score it on source images it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from graft.determinism import derive_seed
from graft.progress import track
from graft.settings import Pretrain
from graft.train.loop import batches, logits_of
from graft.zoo.network import Network
from graft.zoo.preprocessing import Preprocessing

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Labelled:
    """Images at a network's geometry, uint8 (n, size, size, 3), and class indices (n)."""

    images: Tensor
    labels: Tensor


def at_geometry(images: NDArray[np.uint8], labels: NDArray[np.int64], preprocessing: Preprocessing) -> Labelled:
    """Grey images (n, h, w) -> the geometry that a file of the same picture would get."""
    rows = [preprocessing.geometry.apply(Image.fromarray(image).convert("RGB")) for image in images]
    return Labelled(torch.from_numpy(np.stack(rows)), torch.from_numpy(labels))


def pretrain(
    network: Network, preprocessing: Preprocessing, data: Labelled, settings: Pretrain, seed: int, fabric: Fabric
) -> list[float]:
    """Train the whole network in place with AdamW and a one-cycle schedule.

    The schedule is that of L. Smith and N. Topin, Super-Convergence, 2017 (arXiv:1708.07120).

    Returns:
        The mean loss of each epoch, in nats.
    """
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train()
    optimizer = torch.optim.AdamW(_groups(network, settings.weight_decay), lr=settings.learning_rate, fused=True)
    steps = -(-len(data.labels) // settings.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.epochs * steps
    )
    model, opt = fabric.setup(network, optimizer)
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "dropout"))
        for epoch in range(settings.epochs):
            order = batches(len(data.labels), settings.batch_size, seed, epoch)
            total = 0.0
            for indices in track(order, f"epoch {epoch + 1} of {settings.epochs}", total=steps):
                images = preprocessing.normalise(data.images[indices].to(fabric.device))
                loss = F.cross_entropy(model(images), data.labels[indices].to(fabric.device), label_smoothing=0.1)
                opt.zero_grad()
                fabric.backward(loss)
                opt.step()
                schedule.step()
                total += float(loss.detach()) * len(indices)
            losses.append(total / len(data.labels))
    network.cpu().eval()
    return losses


def _groups(network: Network, weight_decay: float) -> list[dict[str, object]]:
    many = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    single = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return [{"params": many, "weight_decay": weight_decay}, {"params": single, "weight_decay": 0.0}]


def accuracy(network: Network, preprocessing: Preprocessing, data: Labelled) -> float:
    """Share of ``data`` that the network names rightly."""
    logits = logits_of(network, preprocessing.normalise(data.images))
    return float((logits.argmax(1) == data.labels).float().mean())
