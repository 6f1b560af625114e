"""The strategies, as plans: what is trained in which order, for how long, and at which rates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from graft.errors import ConfigError, did_you_mean
from graft.settings import Train

AUTO = "auto"


@dataclass(frozen=True)
class Stage:
    """One stretch of training of some blocks and the head.

    Attributes:
        name: for curves and messages; each of a plan's stages has its own.
        start: first unit that is trained.
        epochs: most passes over the training images.
        rate: the head's peak learning rate.
        backbone_rate: the last block's peak learning rate.
        fresh_statistics: whether batch normalisation in the trained blocks normalises by, and learns, the batches'
            own statistics. Pretrained blocks keep theirs: those of a few small batches are noise to a head that was
            fitted on the pretrained ones.
        block_decay: a block's peak rate as a share of that of the block after it, in (0, 1].
    """

    name: str
    start: int
    epochs: int
    rate: float
    backbone_rate: float
    fresh_statistics: bool
    block_decay: float = 1.0


@dataclass(frozen=True)
class Plan:
    """What is done in order: solve the head alone on the frozen backbone, or not; then the stages."""

    head_first: bool
    stages: tuple[Stage, ...]


def extract(blocks: int, train: Train) -> Plan:
    """A new head on the frozen backbone, and nothing else."""
    return Plan(True, ())


def staged(blocks: int, train: Train) -> Plan:
    """The head alone on a frozen backbone; then the last blocks too, at a fraction of the rate; then, if asked, all.

    A head that is right before the backbone moves keeps the pretrained features from being distorted (A. Kumar et
    al., Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, 2022, arXiv:2202.10054).
    """
    start = max(0, blocks - train.unfreeze_blocks)
    last = _pretrained("last blocks", start, train.finetune_epochs, train)
    everything = _pretrained("everything", 0, train.full_epochs, train)
    return Plan(True, tuple(stage for stage in (last, everything) if stage.epochs))


def gradual(blocks: int, train: Train) -> Plan:
    """The head alone; then one more block every ``gradual_epochs`` epochs, last first, while epochs are left.

    When all blocks are open, the rest of the epochs is theirs. Gradual unfreezing and rates that fall from block to
    block: J. Howard and S. Ruder, Universal Language Model Fine-tuning, 2018, arXiv:1801.06146.
    """
    stages: list[Stage] = []
    left = train.finetune_epochs
    for count in range(1, blocks + 1):
        epochs = left if count == blocks else min(train.gradual_epochs, left)
        if epochs:
            name = "last block" if count == 1 else f"last {count} blocks"
            stages.append(_pretrained(name, blocks - count, epochs, train))
        left -= epochs
    return Plan(True, tuple(stages))


def full(blocks: int, train: Train) -> Plan:
    """Everything from the first step on, the blocks at a fraction of the new head's rate.

    There is much data where this is right, so batch normalisation learns the data's own statistics too.
    """
    rate = train.learning_rate
    everything = Stage(
        "everything", 0, train.finetune_epochs, rate, rate * train.backbone_rate, True, train.block_decay
    )
    return Plan(False, (everything,)) if train.finetune_epochs else extract(blocks, train)


def scratch(blocks: int, train: Train) -> Plan:
    """Everything from random weights, at the head's rate, for as many epochs as the transfer may take."""
    epochs = train.finetune_epochs + train.full_epochs
    return Plan(False, (Stage("everything", 0, epochs, train.learning_rate, train.learning_rate, True),))


def _pretrained(name: str, start: int, epochs: int, train: Train) -> Stage:
    """Blocks that keep their statistics, at the backbone's rates."""
    rate = train.learning_rate
    return Stage(name, start, epochs, rate, rate * train.backbone_rate, False, train.block_decay)


@dataclass(frozen=True)
class Strategy:
    """A row of the table.

    Attributes:
        plan: takes the number of blocks and the settings.
        says: what it does and when it is right, for people.
        stops_early: False where every stage has to run its full length. A network that starts from random weights
            first gets worse on images it is not trained on, while its batch statistics settle: stopping early
            would end it at its beginning, and a control that is cut short proves nothing.
        blank: whether it starts from random weights, whatever weights were chosen.
    """

    plan: Callable[[int, Train], Plan]
    says: str
    stops_early: bool = True
    blank: bool = False


STRATEGIES: dict[str, Strategy] = {
    "extract": Strategy(extract, "the head alone, on a frozen backbone: few images, or features that fit already"),
    "staged": Strategy(staged, "the head, then the last blocks at a smaller rate, then all if asked: some images"),
    "gradual": Strategy(gradual, "the head, then one more block every few epochs, last first: a far source"),
    "full": Strategy(full, "everything from the first step on: many images"),
    "scratch": Strategy(scratch, "everything from random weights: the control", stops_early=False, blank=True),
}


def require_strategy(name: str) -> None:
    """Refuse a name that is neither ``auto`` nor in the table.

    Raises:
        ConfigError: with the nearest names.
    """
    if name != AUTO and name not in STRATEGIES:
        raise ConfigError(
            f"there is no strategy {name!r}", where="train.strategy", remedy=did_you_mean(name, (AUTO, *STRATEGIES))
        )
