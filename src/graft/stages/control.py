"""Part of the stage `finetune`: the control from scratch, with a budget in steps and a rate of its own.

It has to be able to learn, or any transfer would seem to help: few labels make few steps of an epoch, and the rate that
suits pretrained blocks suits random ones only by chance. So neither comes from the transfer, nor from a search for it.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.settings import Train

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.stages.job import Job
    from graft.train.finetune import Trained
    from graft.train.loop import Report

    Rows = NDArray[np.bool_]

STRATEGY = "scratch"
# Peak rates of the head and of all blocks that are tried, by AdamW with a warm-up; the one between is for where no
# image can be held out.
RATES = (0.001, 0.003, 0.01)
# A try has so many times fewer steps than the control: all three together cost half as much as that.
TRIES = 6


@dataclass(frozen=True)
class Budget:
    """What a control from scratch had.

    Attributes:
        steps: of the optimizer.
        epochs: passes over its training images.
        learning_rate: peak rate.
        images: training images.
        tried: hold-out accuracy by rate; empty where no image could be held out.
    """

    steps: int
    epochs: int
    learning_rate: float
    images: int
    tried: tuple[tuple[float, float], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As the control's card has it, under ``budget``."""
        return {**dataclasses.asdict(self), "tried": [list(pair) for pair in self.tried]}


def train_control(job: Job, asked: Train, rows: Rows, report: Report | None = None) -> tuple[Trained, Budget]:
    """Train the winner's network from scratch on the images ``rows``, at the best of :data:`RATES`.

    The rate is found on a fold of the rows that the tries are not trained on; of rates that are equally right the one
    nearest to the middle is taken. All in all it costs one and a half times ``train.control_steps``, or the epochs of
    the fine-tuning where these are more steps.

    Args:
        job: what is trained on; its settings of ``train`` play no part.
        asked: ``train`` as params.yaml has it, before any search.
        rows: which training images, bool (n).
        report: told of every epoch of the control.
    """
    scores = _tried(job, asked, rows)
    rate = RATES[len(RATES) // 2]
    if scores:
        order = sorted(scores, key=lambda item: abs(math.log(item[0] / rate)))
        rate = max(order, key=lambda item: item[1])[0]
    settings = _settings(asked, int(rows.sum()), rate)
    trained = _with(job, settings).train(STRATEGY, rows, report)
    steps = settings.finetune_epochs * _steps(asked, int(rows.sum()))
    return trained, Budget(steps, settings.finetune_epochs, rate, int(rows.sum()), scores)


def _tried(job: Job, asked: Train, rows: Rows) -> tuple[tuple[float, float], ...]:
    """Accuracy of a short training at each rate on the smallest fold of the rows; none where that leaves too few."""
    names, counts = np.unique(job.data.folds[rows], return_counts=True)
    held_out = rows & (job.data.folds == names[counts.argmin()])
    fitted = rows & ~held_out
    # Batch normalisation has no statistics of a single image.
    if fitted.sum() < 2:
        return ()
    found = []
    for rate in RATES:
        own = _with(job, _settings(asked, int(fitted.sum()), rate, TRIES))
        found.append((rate, own.score(own.train(STRATEGY, fitted), STRATEGY, held_out)))
    return tuple(found)


def _settings(asked: Train, images: int, rate: float, part: int = 1) -> Train:
    """The control's settings: whole epochs with at least so many steps, and at least those of the fine-tuning."""
    epochs = max(asked.finetune_epochs, math.ceil(asked.control_steps / _steps(asked, images)))
    return Train(
        finetune_epochs=max(1, math.ceil(epochs / part)),
        learning_rate=rate,
        batch_size=asked.batch_size,
        imbalance=asked.imbalance,
        checkpoint_seconds=asked.checkpoint_seconds,
    )


def _steps(asked: Train, images: int) -> int:
    """Steps of an epoch."""
    return math.ceil(images / asked.batch_size)


def _with(job: Job, settings: Train) -> Job:
    return dataclasses.replace(job, params=dataclasses.replace(job.params, train=settings))
