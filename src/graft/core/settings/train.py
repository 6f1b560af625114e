"""``train`` and ``trust``: how networks are fine-tuned, and how far their answers are to be trusted."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from graft.core.settings.constraints import SECTION, Count, Fraction, NonNegative, Positive, Rate, Text

_Unit = Annotated[float, Field(ge=0, lt=1)]
_Part = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, config=SECTION)
class Train:
    """How networks are fine-tuned: finalists without some folds, the winner at last."""

    strategy: Text = "auto"
    """extract (the head alone), finetune, wise_ft (between the weights that finetune begins and ends with) or
    scratch; auto: the better of finetune and wise_ft in the folds, or the head alone where it is shown to be better,
    see reports/training/strategy.json"""
    epochs: Count = 10
    """epochs in which blocks are trained; the schedule ends with the last; 0: head only"""
    unfreeze: _Part = 0.6
    """share of the blocks that is trained, counted from the last; 1: all"""
    learning_rate: Rate = 0.001
    """peak rate of the head"""
    backbone_lr_ratio: Rate = 0.75
    """rate of the last block as a share of the head's"""
    layer_decay: _Part = 0.75
    """a block's rate as a share of that of the block after it; 1: all alike"""
    batch_size: Positive = 32
    """images per step"""
    weight_decay: NonNegative = 0.05
    """AdamW's; none on norms and biases"""
    label_smoothing: _Unit = 0.1
    """share of the target spread over all classes"""
    dropout: _Unit = 0.0
    """share of the features that the head does not see in a step; 0: none"""
    grad_clip_norm: Rate | None = None
    """largest norm of all gradients together; longer ones are shortened; null: any"""
    ema_decay: _Unit = 0.0
    """share of the averaged weights that a step leaves (EMA), such as 0.99; 0: none"""
    imbalance: Literal["none", "loss", "sampling"] = "none"
    """what evens out classes of unlike size: their weight in the loss, or how often they come"""
    control: bool = True
    """train the same network from scratch, to test that transfer helps"""
    control_size: Annotated[int, Field(ge=8, le=2048)] | None = None
    """side of the control's input in pixels, at most that of the model; null: the model's. A smaller one is quicker"""
    control_steps: Positive = 300
    """steps of the control, also on few labels. Short tries of its rate cost half as much again"""
    control_seeds: Count = 0
    """seeds with which the control is also trained without each fold that finalists were fine-tuned without, so that
    the verdict covers the choice of training images; 0: it is compared on the test images only"""
    label_counts: tuple[Positive, ...] = ()
    """labels per class at which transfer and scratch are also compared"""


@dataclass(frozen=True, config=SECTION)
class Trust:
    """How far the model's answers are to be trusted; fitted on held-out training images, kept in model.json."""

    answered_accuracy: Annotated[float, Field(gt=0, le=1)] = 0.95
    """accuracy that answers shall have; the others are `not sure`"""
    in_distribution_share: Fraction = 0.95
    """share of in-distribution images to accept (0.95: 5% are wrongly called unlike the training images)"""
