"""Fine-tuning strategies as plans: which blocks are trained, for how long, and at which learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from graft.core.errors import ConfigError, did_you_mean
from graft.core.settings import Train

AUTO = "auto"
# Augmented views of an image that are run through the frozen blocks once and then shown in turn. Six train as well as
# fresh ones in every epoch (benchmarks/RESULTS.md), for half of the time where half of the blocks is frozen.
VIEWS = 6


@dataclass(frozen=True)
class Stage:
    """Training of some blocks and the head on a schedule of fixed length.

    Attributes:
        name: for curves and messages.
        start: first block that is trained.
        epochs: passes over the training images; the schedule ends with the last step.
        rate: the head's peak learning rate.
        backbone_lr: peak learning rate of the last block.
        fresh_statistics: whether batch normalisation in the trained blocks normalises by, and learns, the batches'
            own statistics. Pretrained blocks keep theirs: those of a few small batches are noise to a head that was
            fitted on the pretrained ones.
        layer_decay: a block's peak rate as a share of that of the block after it, in (0, 1].
    """

    name: str
    start: int
    epochs: int
    rate: float
    backbone_lr: float
    fresh_statistics: bool
    layer_decay: float = 1.0


@dataclass(frozen=True)
class Plan:
    """Fit the head alone on the frozen backbone first, or not; then train blocks and head, unless ``stage`` is None."""

    head_first: bool
    stage: Stage | None

    @property
    def epochs(self) -> int:
        """Epochs in which blocks are trained."""
        return 0 if self.stage is None else self.stage.epochs

    @property
    def start(self) -> int | None:
        """First block that is trained; None: none is."""
        return None if self.stage is None else self.stage.start


def extract_plan(blocks: int, train: Train) -> Plan:
    """A linear head on the frozen backbone, and nothing else."""
    return Plan(True, None)


def finetune_plan(blocks: int, train: Train) -> Plan:
    """Linear probing, then fine-tuning (LP-FT): the fitted head, then blocks and head at rates that fall with depth.

    A head that fits before the backbone moves keeps the pretrained features from being distorted (A. Kumar et al.,
    Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, 2022, arXiv:2202.10054). Rates
    that fall from block to block: J. Howard and S. Ruder, Universal Language Model Fine-tuning, 2018, arXiv:1801.06146.
    ``train.unfreeze`` is the share of the blocks that is trained, so that it means the same for five blocks and for
    twenty-four.
    """
    if not train.epochs:
        return extract_plan(blocks, train)
    start = blocks - max(1, math.ceil(train.unfreeze * blocks))
    rate = train.learning_rate
    stage = Stage("fine-tuning", start, train.epochs, rate, rate * train.backbone_lr_ratio, False, train.layer_decay)
    return Plan(True, stage)


def scratch_plan(blocks: int, train: Train) -> Plan:
    """Every block from random weights, at the head's rate.

    Raises:
        ConfigError: there are no epochs, and the network would stay as random as it begins.
    """
    if not train.epochs:
        raise ConfigError(
            "a network from scratch cannot be trained in 0 epochs",
            where="train.epochs",
            remedy="give it epochs; for the head of a pretrained network alone set train.strategy: extract",
        )
    rate = train.learning_rate
    return Plan(False, Stage("from scratch", 0, train.epochs, rate, rate, True))


@dataclass(frozen=True)
class Strategy:
    """A row of the table.

    Attributes:
        plan: takes the number of blocks and the settings.
        says: what it does and when it is right, for people.
        blank: whether it starts from random weights, whatever weights were chosen.
        interpolates: the strategy between whose first and last weights it lies, its head fitted anew; None: it is
            trained itself.
    """

    plan: Callable[[int, Train], Plan]
    says: str
    blank: bool = False
    interpolates: str | None = None


STRATEGIES: dict[str, Strategy] = {
    "extract": Strategy(extract_plan, "the head alone, on a frozen backbone: features that fit already"),
    "finetune": Strategy(finetune_plan, "the head, then the blocks at rates that fall with depth: most data"),
    "wise_ft": Strategy(
        finetune_plan,
        "between the weights that `finetune` begins and ends with, and a head fitted anew: few labels",
        interpolates="finetune",
    ),
    "scratch": Strategy(scratch_plan, "everything from random weights: the control", blank=True),
}
# What earlier versions called them, and what does the same now.
RENAMED = {"staged": "finetune", "gradual": "finetune", "full": "finetune"}


def require_strategy(name: str) -> None:
    """Refuse a name that is neither ``auto`` nor in the table.

    Raises:
        ConfigError: with the nearest names.
    """
    if name in RENAMED:
        raise ConfigError(
            f"there is no strategy {name!r} any more",
            where="train.strategy",
            remedy=f"write `{RENAMED[name]}`; `train.unfreeze` says which share of the blocks it trains",
        )
    if name != AUTO and name not in STRATEGIES:
        raise ConfigError(
            f"there is no strategy {name!r}", where="train.strategy", remedy=did_you_mean(name, (AUTO, *STRATEGIES))
        )
