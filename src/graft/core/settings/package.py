"""``package``: what the packaged model is called and what it must reach."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from graft.core.settings.constraints import SECTION, Rate, Share


@dataclass(frozen=True, config=SECTION)
class Gate:
    """What a model must reach before it is packaged; null switches a condition off."""

    min_accuracy: Share | None = None
    """least test accuracy"""
    min_balanced_accuracy: Share | None = None
    """least balanced accuracy on the test images"""
    min_macro_f1: Share | None = None
    """least macro F1 on the test images"""
    min_roc_auc: Share | None = None
    """least ROC AUC on the test images"""
    max_log_loss: Rate | None = None
    """most log loss on the test images, in nats"""
    max_latency_ms: Rate | None = None
    """most milliseconds for one image, median"""
    max_size_mb: Rate | None = None
    """most megabytes of model.safetensors"""
    beat_majority: bool = True
    """refuse a model that is no better than always naming the most frequent class, neither by accuracy nor by balanced
    accuracy; false lets a task through on which nothing better is known"""
    max_drop: Share | None = 0.0
    """how much of `metric` may be lost against the production model; it refuses a model that the paired test on the
    same test images shows to lose more; 0: one that is significantly worse"""
    refuse_if_transfer_hurts: bool = False
    """do not promote a model whose verdict on transfer is `hurts`, or not known yet; it is packaged all the same, for
    its control is trained later"""


@dataclass(frozen=True, config=SECTION)
class Package:
    """What the packaged model is called and what it must reach."""

    name: Annotated[str, Field(pattern=r"^[a-z]([a-z0-9_-]*[a-z0-9])?$")] = "graft"
    """name in the BentoML model store, among DVC's artifacts and in git tags"""
    gate: Gate = dataclasses.field(default_factory=Gate)
