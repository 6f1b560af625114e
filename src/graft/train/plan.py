"""The strategies, as plans: what is trained in which order, for how long, and at which rates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from graft.settings import Train
from graft.zoo.network import Network


@dataclass(frozen=True)
class Stage:
    """One stretch of training of some blocks and the head.

    Attributes:
        name: for curves and messages.
        start: first unit that is trained.
        epochs: most passes over the training images.
        rate: the head's peak learning rate.
        backbone_rate: the trained blocks' peak learning rate.
        fresh_statistics: whether batch normalisation in the trained blocks normalises by, and learns, the batches'
            own statistics. Pretrained blocks keep theirs: those of a few small batches are noise to a head that was
            fitted on the pretrained ones.
    """

    name: str
    start: int
    epochs: int
    rate: float
    backbone_rate: float
    fresh_statistics: bool


@dataclass(frozen=True)
class Plan:
    """What is done in order: solve the head alone on the frozen backbone, or not; then the stages."""

    head_first: bool
    stages: tuple[Stage, ...]


def staged(blocks: int, train: Train) -> Plan:
    """The head alone on a frozen backbone; then the last blocks too, at a fraction of the rate.

    A head that is right before the backbone moves keeps the pretrained features from being distorted (A. Kumar et
    al., Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, 2022, arXiv:2202.10054).
    """
    start = max(0, blocks - train.unfreeze_blocks)
    rate = train.learning_rate
    last = Stage("last blocks", start, train.finetune_epochs, rate, rate * train.backbone_rate, False)
    return Plan(True, (last,) if train.finetune_epochs else ())


def scratch(blocks: int, train: Train) -> Plan:
    """Everything from random weights, at the head's rate, for as many epochs as the transfer may take."""
    return Plan(False, (Stage("everything", 0, train.finetune_epochs, train.learning_rate, train.learning_rate, True),))


@dataclass(frozen=True)
class Strategy:
    """A row of the table.

    Attributes:
        plan: takes the number of blocks and the settings.
        stops_early: False where every stage has to run its full length. A network that starts from random weights
            first gets worse on images it is not trained on, while its batch statistics settle: stopping early
            would end it at its beginning, and a control that is cut short proves nothing.
    """

    plan: Callable[[int, Train], Plan]
    stops_early: bool


STRATEGIES: dict[str, Strategy] = {
    "staged": Strategy(staged, stops_early=True),
    "scratch": Strategy(scratch, stops_early=False),
}


def freeze(network: Network, stage: Stage) -> None:
    """Let only the stage's units and the head learn; the rest neither learns nor updates its statistics."""
    for index, unit in enumerate(network.units()):
        for module in unit:
            module.requires_grad_(index >= stage.start)
            module.train(index >= stage.start)
            if not stage.fresh_statistics:
                keep_statistics(module)
    network.head.requires_grad_(True)
    network.head.train()


def keep_statistics(module: nn.Module) -> None:
    """Put batch normalisation into eval mode; its scale and shift still learn."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()


def parameter_groups(network: Network, stage: Stage, weight_decay: float) -> list[dict[str, object]]:
    """Head and trained blocks at their rates; norms and biases (one dimension or none) without weight decay."""
    trained: list[nn.Module] = [module for unit in network.units()[stage.start :] for module in unit]
    groups: list[dict[str, object]] = []
    for modules, rate in (([network.head], stage.rate), (trained, stage.backbone_rate)):
        parameters = [parameter for module in modules for parameter in module.parameters()]
        for decay, some in (
            (weight_decay, [parameter for parameter in parameters if parameter.ndim > 1]),
            (0.0, [parameter for parameter in parameters if parameter.ndim <= 1]),
        ):
            if some:
                groups.append({"params": some, "lr": rate, "weight_decay": decay})
    return groups
