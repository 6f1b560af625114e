"""Seconds that each stage will take by some settings, from the rates of the candidates' networks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from graft.core.settings import Params, Train
from graft.planning.rates import Rates
from graft.training.strategies import VIEWS

# What a stage takes whatever its images are, in seconds: to start Python, import torch and timm, build and load
# networks, write results. Measured on two cores of a server.
FIXED: Mapping[str, float] = {
    "select": 9.0,
    "tune": 1.0,
    "finetune": 6.0,
    "score": 12.0,
    "package": 12.0,
    "control": 6.0,
    "evaluate": 10.0,
}
# Stages on the way to the packaged model, and those of the proof.
MODEL, PROOF = ("select", "tune", "finetune", "score", "package"), ("control", "evaluate")
# A head, its folds and depths; seconds for each training image and block.
_PROBE = 4e-4
# For how many images so many labels a class are, roughly.
_CLASSES = 10


@dataclass(frozen=True)
class Work:
    """What there is to do.

    Attributes:
        train: training images.
        test: test images.
        rates: of each candidate that has weights; the dearest are taken for finalists.
        control: rates of the control's network at its size.
        blank: candidates without weights, whose networks are run once over the images.
    """

    train: int
    test: int
    rates: Sequence[Rates]
    control: Rates
    blank: int = 0


def expected(params: Params, work: Work) -> dict[str, float]:
    """Seconds by stage, in the order of the stages."""
    train, select = params.train, params.select
    folds = min(select.folds, select.finetune_folds or select.folds)
    # Which candidates will be finalists is not known: the dearest ones could be.
    dearest = sorted(work.rates, key=lambda rates: -rates.finetune)[: select.finalists]
    tunes = train.epochs > 0 and train.strategy != "extract"
    in_folds = sum(_fit(rates, train, work.train * (1 - 1 / select.folds)) for rates in dearest) * folds
    once = max((_fit(rates, train, work.train) for rates in dearest), default=0.0)
    forward = max((rates.forward for rates in work.rates), default=0.0)
    # The candidates, and the winner with random weights.
    probes = sum(rates.forward for rates in work.rates) + (1 + work.blank) * forward
    seconds = dict(FIXED)
    seconds["select"] += work.train * (probes + 8 * _PROBE) + (in_folds if tunes else 0.0)
    seconds["tune"] += params.tune.trials * select.folds * once if tunes else 0.0
    seconds["finetune"] += work.train * forward + (once if tunes else 0.0)
    seconds["finetune"] += (
        sum(_fit(dearest[0], train, _CLASSES * count) for count in train.label_counts) if tunes else 0.0
    )
    seconds["score"] += work.test * forward
    seconds["package"] += min(work.train, 64) * 2 * forward
    seconds["evaluate"] += work.test * work.control.forward
    seconds["control"] = _control(train, folds, work) if train.control else 1.0
    return seconds


def _fit(rates: Rates, train: Train, images: float) -> float:
    """Seconds of one fine-tuning: augmented views through the frozen part, then the epochs."""
    views = min(train.epochs, VIEWS)
    return images * (views * (rates.augment + rates.frozen) + train.epochs * rates.finetune)


def _control(train: Train, folds: int, work: Work) -> float:
    """Seconds of the control: on all images, on fewer labels, and in folds for each seed."""
    batch = min(train.batch_size, max(1, work.train))
    steps = max(train.control_steps, math.ceil(work.train / batch))
    # Its rate is tried in half as many steps once more, but not for fewer labels.
    images = (1 + train.control_seeds * folds) * 1.5 * steps * batch
    images += sum(steps * min(batch, _CLASSES * count) for count in train.label_counts)
    return FIXED["control"] + images * (work.control.scratch + work.control.augment)
