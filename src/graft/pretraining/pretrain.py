"""Train one architecture on a source task from random weights, and score it on source images it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from graft.augmentation.policies import Policy
from graft.core.determinism import derive_seed
from graft.core.errors import TrainingError
from graft.core.settings import Pretrain
from graft.modalities.image.preprocessing import ImagePreprocessor
from graft.models.backbone import Network
from graft.tasks.registry import CLASSIFICATION
from graft.training.divergence import DivergedError
from graft.training.inputs import Augmented
from graft.training.logits import logits_of
from graft.training.objectives.supervised import Supervised
from graft.training.trainer import StageData, Trainer, epoch_order

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from numpy.typing import NDArray

SMOOTHING = 0.1
# Images that are normalised at once: all of them as floats would take four times the memory they take as bytes.
_AT_ONCE = 1024


@dataclass(frozen=True)
class LabelledImages:
    """Images at a network's geometry, uint8 (n, size, size, 3), and class indices (n).

    Attributes:
        units: int (n): images of one unit are copies or hang together; None: each stands alone.
    """

    images: Tensor
    labels: Tensor
    units: NDArray[np.intp] | None = None


def glyph_images(
    images: NDArray[np.uint8], labels: NDArray[np.int64], preprocessing: ImagePreprocessor
) -> LabelledImages:
    """Grey images (n, h, w) -> the geometry that a file of the same picture would get."""
    rows = [preprocessing.geometry.apply(Image.fromarray(image).convert("RGB")) for image in images]
    return LabelledImages(torch.from_numpy(np.stack(rows)), torch.from_numpy(labels))


def pretrain(
    network: Network,
    preprocessing: ImagePreprocessor,
    data: LabelledImages,
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
    order = epoch_order(len(data.labels), settings.batch_size, settings.epochs, seed)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=settings.epochs * len(order[0])
    )
    rows, classes = np.arange(len(data.labels)), network.head.out_features
    inputs = Augmented(
        data.images.numpy(), rows, policy or Policy(), preprocessing, nn.Identity(), seed, fabric.device, classes
    )
    trainer = Trainer(fabric, Supervised(CLASSIFICATION, label_smoothing=SMOOTHING))
    shown, dropout = StageData(inputs, data.labels), derive_seed(seed, "dropout")
    try:
        curve = trainer.fit(network, optimizer, scheduler, shown, order, dropout, "pretraining")
    except DivergedError as error:
        raise _diverged(error.what) from None
    network.cpu().eval()
    return [point.train_loss for point in curve]


def _groups(network: Network, weight_decay: float) -> list[dict[str, object]]:
    many = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    single = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return [{"params": many, "weight_decay": weight_decay}, {"params": single, "weight_decay": 0.0}]


def _diverged(what: str) -> TrainingError:
    return TrainingError(what, where="pretrain.learning_rate", remedy="lower the learning rate")


def probabilities(network: Network, preprocessing: ImagePreprocessor, data: LabelledImages) -> NDArray[np.float64]:
    """What the network says of images, (n, classes); every row sums to one.

    Raises:
        TrainingError: it says what is no number: its last step took it too far, and no loss was computed after that.
    """
    parts = torch.split(data.images, _AT_ONCE)
    logits = torch.cat([logits_of(network, preprocessing.normalise(part)) for part in parts])
    if not bool(torch.isfinite(logits).all()):
        raise _diverged("the pretrained network's answers are not numbers after its last step")
    return torch.softmax(logits.double(), dim=1).numpy()
