"""``select`` and ``tune``: how candidates, and settings of the fine-tuning, are compared by cross-validation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from graft.core.settings.constraints import SECTION, Count, Positive, Rate

Rule = Literal["accurate", "cheap"]


@dataclass(frozen=True, config=SECTION)
class Select:
    """How the candidates are compared."""

    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """folds of the cross-validation"""
    rule: Rule = "accurate"
    """accurate: the best cross-validated mean of `metric` wins; cheap: the cheapest to serve of those whose paired
    difference to it may be chance"""
    probe: Literal["ridge", "logistic"] = "ridge"
    """linear head that scores frozen features; ridge is the quicker"""
    finalists: Positive = 2
    """best candidates by probe that are fine-tuned without some folds, and scored on those"""
    finetune_folds: Positive | None = None
    """how many of the folds finalists are fine-tuned without, one after the other; null: all. The head alone is always
    scored on all of them, which costs next to nothing"""
    max_latency_ms: Rate | None = None
    """most milliseconds for one image; null: no limit"""
    max_params_m: Rate | None = None
    """most parameters, in millions; null: no limit"""
    max_memory_mb: Rate | None = None
    """most megabytes that a forward pass of one image takes; null: no limit"""


@dataclass(frozen=True, config=SECTION)
class Tune:
    """The search over hyper-parameters of the fine-tuning: cross-validated on the training images."""

    trials: Count = 0
    """settings to try, those at hand being the first; 0: no search"""
    minutes: Rate | None = None
    """no new trial is begun after so many minutes; null: any"""
    search: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "learning_rate",
        "backbone_lr_ratio",
        "epochs",
        "weight_decay",
    )
    """keys of `train` that are varied, or policy for `augment.policy`: rows of graft.tuning.space"""
