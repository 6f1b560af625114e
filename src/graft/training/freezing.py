"""Freezing of blocks and of BatchNorm statistics, and the optimizer's parameter groups."""

from __future__ import annotations

from typing import Any

from torch import nn

from graft.models.backbone import Network
from graft.training.strategies import Stage


def freeze(network: Network, stage: Stage) -> None:
    """Train only the stage's blocks and the head; freeze the parameters and the BatchNorm statistics of the others."""
    for index, group in enumerate(network.layer_groups()):
        for module in group:
            module.requires_grad_(index >= stage.start)
            module.train(index >= stage.start)
            if not stage.fresh_statistics:
                keep_statistics(module)
    network.head.requires_grad_(True)
    network.head.train()


def keep_statistics(module: nn.Module) -> None:
    """Put BatchNorm into eval mode; its scale and shift are still trained."""
    for part in module.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.eval()


def parameter_groups(network: Network, stage: Stage, weight_decay: float) -> list[dict[str, Any]]:
    """The head and the trained blocks with their learning rates; norms and biases have no weight decay.

    The block that lies d blocks before the last one has the rate ``backbone_lr * layer_decay ** d``. Blocks with
    the same rate share a group.
    """
    by_rate: dict[float, list[nn.Parameter]] = {}
    blocks = network.layer_groups()
    for index in range(stage.start, len(blocks)):
        rate = stage.backbone_lr * stage.layer_decay ** (len(blocks) - 1 - index)
        by_rate.setdefault(rate, []).extend(p for module in blocks[index] for p in module.parameters())
    groups: list[dict[str, Any]] = []
    for rate, parameters in ((stage.rate, list(network.head.parameters())), *by_rate.items()):
        for decay, some in (
            (weight_decay, [parameter for parameter in parameters if parameter.ndim > 1]),
            (0.0, [parameter for parameter in parameters if parameter.ndim <= 1]),
        ):
            if some:
                groups.append({"params": some, "lr": rate, "weight_decay": decay})
    return groups
