"""Train one architecture on a source task from random weights, and score it on source images it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from graft.augment.policies import Policy, augment_batch
from graft.determinism import derive_seed
from graft.errors import TrainingError
from graft.progress import track
from graft.settings import Pretrain
from graft.train.divergence import is_finite
from graft.train.loop import batches, logits_of
from graft.zoo.network import Network
from graft.zoo.preprocessing import Preprocessing

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from numpy.typing import NDArray

SMOOTHING = 0.1
# Images that are normalised at once: all of them as floats would take four times the memory they take as bytes.
_AT_ONCE = 1024


@dataclass(frozen=True)
class Labelled:
    """Images at a network's geometry, uint8 (n, size, size, 3), and class indices (n).

    Attributes:
        units: int (n): images of one unit are copies or hang together; None: each stands alone.
    """

    images: Tensor
    labels: Tensor
    units: NDArray[np.intp] | None = None


def at_geometry(images: NDArray[np.uint8], labels: NDArray[np.int64], preprocessing: Preprocessing) -> Labelled:
    """Grey images (n, h, w) -> the geometry that a file of the same picture would get."""
    rows = [preprocessing.geometry.apply(Image.fromarray(image).convert("RGB")) for image in images]
    return Labelled(torch.from_numpy(np.stack(rows)), torch.from_numpy(labels))


def pretrain(
    network: Network,
    preprocessing: Preprocessing,
    data: Labelled,
    settings: Pretrain,
    seed: int,
    fabric: Fabric,
    policy: Policy | None = None,
) -> list[float]:
    """Train the whole network in place with AdamW and a one-cycle schedule.

    The schedule is that of L. Smith and N. Topin, Super-Convergence, 2017 (arXiv:1708.07120).

    Returns:
        The mean loss of each epoch, in nats.

    Raises:
        TrainingError: the loss is not finite.
    """
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train()
    optimizer = torch.optim.AdamW(_groups(network, settings.weight_decay), lr=settings.learning_rate, fused=True)
    steps = -(-len(data.labels) // settings.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.epochs * steps
    )
    model, opt = fabric.setup(network, optimizer)
    shown = _Shown(data, preprocessing, policy or Policy(), network.head.out_features, seed)
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "dropout"))
        for epoch in range(settings.epochs):
            order = batches(len(data.labels), settings.batch_size, seed, epoch)
            total = 0.0
            for step, indices in enumerate(track(order, f"epoch {epoch + 1} of {settings.epochs}", total=steps)):
                images, targets = shown.batch(indices, epoch)
                loss = F.cross_entropy(
                    model(images.to(fabric.device)), targets.to(fabric.device), label_smoothing=SMOOTHING
                )
                value = float(loss.detach())
                if not is_finite(value):
                    place = f"epoch {epoch + 1}, step {step + 1} of {steps}"
                    raise _diverged(f"the loss of the pretraining is {value} in {place}, at the rate {_rate(opt):.3g}")
                opt.zero_grad()
                fabric.backward(loss)
                opt.step()
                schedule.step()
                total += value * len(indices)
            losses.append(total / len(data.labels))
    network.cpu().eval()
    return losses


@dataclass(frozen=True)
class _Shown:
    """The batches of a training: varied, normalised, mixed."""

    data: Labelled
    preprocessing: Preprocessing
    policy: Policy
    classes: int
    seed: int

    def batch(self, indices: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """The network's inputs (n, 3, size, size) of some images in an epoch, and class indices or shares of them."""
        seeds = [derive_seed(self.seed, "vary", epoch, int(index)) for index in indices]
        images = self.preprocessing.normalise(augment_batch(self.policy, self.data.images[indices], seeds))
        labels = self.data.labels[indices]
        if self.policy.mixing is None:
            return images, labels
        return self.policy.mixing.mix(images, labels, self.classes, derive_seed(self.seed, "mix", epoch, *seeds))


def _groups(network: Network, weight_decay: float) -> list[dict[str, object]]:
    many = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    single = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return [{"params": many, "weight_decay": weight_decay}, {"params": single, "weight_decay": 0.0}]


def _diverged(what: str) -> TrainingError:
    return TrainingError(what, where="pretrain.learning_rate", remedy="lower the learning rate")


def _rate(optimizer: Any) -> float:
    return float(optimizer.param_groups[0]["lr"])


def probabilities(network: Network, preprocessing: Preprocessing, data: Labelled) -> NDArray[np.float64]:
    """What the network says of images, (n, classes); every row sums to one.

    Raises:
        TrainingError: it says what is no number: its last step took it too far, and no loss was computed after that.
    """
    parts = torch.split(data.images, _AT_ONCE)
    logits = torch.cat([logits_of(network, preprocessing.normalise(part)) for part in parts])
    if not bool(torch.isfinite(logits).all()):
        raise _diverged("the pretrained network's answers are not numbers after its last step")
    return torch.softmax(logits.double(), dim=1).numpy()
