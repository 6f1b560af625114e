"""The strategies, as stages in order: which blocks are trained, for how long, and at which rates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from graft.config import Train
from graft.zoo.network import Network


@dataclass(frozen=True)
class Stage:
    """One stretch of training with one set of trainable parts.

    Attributes:
        name: for curves and messages.
        start: first unit that is trained; ``len(network.blocks)`` trains the head alone.
        epochs: most passes over the training images.
        rate: the head's peak learning rate.
        backbone_rate: the trained blocks' peak learning rate.
    """

    name: str
    start: int
    epochs: int
    rate: float
    backbone_rate: float

    @property
    def trains_blocks(self) -> bool:
        """False where the head alone is trained, on features that do not change."""
        return self.name != HEAD


HEAD = "head"


def staged(blocks: int, train: Train) -> tuple[Stage, ...]:
    """The head alone on a frozen backbone; then the last blocks too, at a fraction of the rate."""
    head = Stage(HEAD, blocks, train.head_epochs, train.learning_rate, 0.0)
    start = max(0, blocks - train.unfreeze_blocks)
    last = Stage(
        "last blocks", start, train.finetune_epochs, train.learning_rate, train.learning_rate * train.backbone_rate
    )
    return (head, last) if train.finetune_epochs else (head,)


def scratch(blocks: int, train: Train) -> tuple[Stage, ...]:
    """Everything from random weights, for as many epochs as the staged training may take in all."""
    epochs = train.head_epochs + train.finetune_epochs
    return (Stage("everything", 0, epochs, train.learning_rate, train.learning_rate),)


# The strategies that can be named; a row takes the number of blocks and the settings.
STRATEGIES: dict[str, Callable[[int, Train], tuple[Stage, ...]]] = {"staged": staged, "scratch": scratch}


def freeze(network: Network, start: int) -> None:
    """Let only the units from ``start`` on and the head learn; the rest neither learns nor updates its statistics."""
    for index, unit in enumerate(network.units()):
        for module in unit:
            module.requires_grad_(index >= start)
            module.train(index >= start)
    network.head.requires_grad_(True)
    network.head.train()


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
