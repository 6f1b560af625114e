"""Part of the stage `finetune`: the controls from scratch, with a budget in steps and a rate of their own.

A control has to be able to learn, or any transfer would seem to help: few labels make few steps of an epoch, and the
rate that suits pretrained blocks suits random ones only by chance. So neither comes from the transfer, nor from a
search for it.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.determinism import derive_seed
from graft.core.files import write_json
from graft.core.settings import Train
from graft.pipeline.finetuning.inputs import Finetuning, fit, save

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from graft.training.finetune import Report, Trained

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
        """As the control's model.json has it, under ``budget``."""
        return {**dataclasses.asdict(self), "tried": [list(pair) for pair in self.tried]}


def train_controls(job: Finetuning, folder: Path, rows: Rows, fabric: Fabric, report: Report) -> dict[str, Trained]:
    """Train and save what the winner is compared with; returns those that belong into the learning curves."""
    wanted = job.trainer.settings
    if not wanted.control or not job.trainer.data.task.categorical:
        write_json(folder / "controls.json", [])
        return {}
    fabric.print("training the control: the same network from scratch", flush=True)
    scratch, budget = train_control(job, rows, fabric, report)
    fabric.print(f"the control had {budget.steps:,} steps at a rate of {budget.learning_rate:g}", flush=True)
    save(job, folder / "scratch", STRATEGY, scratch, rows, budget=budget.to_json())
    names = ["scratch"]
    for count in dict.fromkeys(wanted.label_counts):
        some = fewer_labels(job, rows, count)
        if some is None:
            fabric.print(f"no comparison on {count} labels per class: a class has no more than that", flush=True)
            continue
        fabric.print(f"training both on {count} labels per class", flush=True)
        transfer, control = f"labels-{count}-transfer", f"labels-{count}-scratch"
        save(job, folder / transfer, job.choice.strategy, fit(job, some, fabric), some)
        trained, budget = train_control(job, some, fabric)
        save(job, folder / control, STRATEGY, trained, some, budget=budget.to_json())
        names += [transfer, control]
    write_json(folder / "controls.json", names)
    return {"scratch": scratch}


def fewer_labels(job: Finetuning, rows: Rows, count: int) -> Rows | None:
    """``count`` images of each class, the same for both sides; None where a class has no more than that."""
    data = job.trainer.data
    random = np.random.default_rng(derive_seed(job.trainer.seed, "labels"))
    some = np.zeros_like(rows)
    for label in range(len(data.classes)):
        of_class = np.flatnonzero(rows & (data.labels == label))
        if len(of_class) <= count:
            return None
        # The same order for every count, so that the smaller sets are parts of the larger ones.
        some[random.permutation(of_class)[:count]] = True
    return some


def train_control(
    job: Finetuning, rows: Rows, fabric: Fabric | None, report: Report | None = None
) -> tuple[Trained, Budget]:
    """Train the winner's network from scratch on the images ``rows``, at the best of :data:`RATES`.

    The rate is found on a fold of the rows that the tries are not trained on; of rates that are equally right the one
    nearest to the middle is taken. All in all it costs one and a half times ``train.control_steps``, or the epochs of
    the fine-tuning where these are more steps.

    Args:
        job: what is trained on; settings that a search found play no part.
        rows: which training images, bool (n).
        fabric: the devices that train together; None: one.
        report: told of every epoch of the control.
    """
    scores = _tried(job, rows, fabric)
    rate = RATES[len(RATES) // 2]
    if scores:
        order = sorted(scores, key=lambda item: abs(math.log(item[0] / rate)))
        rate = max(order, key=lambda item: item[1])[0]
    images = int(rows.sum())
    settings = _settings(job.asked, images, rate)
    trainer = job.trainer.with_settings(settings)
    trained = trainer.fit(STRATEGY, rows, fabric=fabric, checkpoints=job.checkpoints, report=report)
    steps = settings.epochs * _steps(job.asked, images)
    return trained, Budget(steps, settings.epochs, rate, images, scores)


def _tried(job: Finetuning, rows: Rows, fabric: Fabric | None) -> tuple[tuple[float, float], ...]:
    """Accuracy of a short training at each rate on the smallest fold of the rows; none where that leaves too few."""
    from graft.metrics.scorer import ACCURACY

    folds = job.trainer.data.folds
    names, counts = np.unique(folds[rows], return_counts=True)
    held_out = rows & (folds == names[counts.argmin()])
    fitted = rows & ~held_out
    # Batch normalisation has no statistics of a single image.
    if fitted.sum() < 2:
        return ()
    found = []
    for rate in RATES:
        trainer = job.trainer.with_settings(_settings(job.asked, int(fitted.sum()), rate, TRIES))
        trained = trainer.fit(STRATEGY, fitted, fabric=fabric, checkpoints=job.checkpoints)
        found.append((rate, trainer.score(trained, STRATEGY, held_out, ACCURACY)))
    return tuple(found)


def _settings(asked: Train, images: int, rate: float, part: int = 1) -> Train:
    """The control's settings: whole epochs with at least so many steps, and at least those of the fine-tuning."""
    epochs = max(asked.epochs, math.ceil(asked.control_steps / _steps(asked, images)))
    return Train(
        epochs=max(1, math.ceil(epochs / part)),
        learning_rate=rate,
        batch_size=asked.batch_size,
        imbalance=asked.imbalance,
    )


def _steps(asked: Train, images: int) -> int:
    """Steps of an epoch."""
    return math.ceil(images / asked.batch_size)
