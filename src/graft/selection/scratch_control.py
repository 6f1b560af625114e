"""The control from scratch: the winner's network from random weights, with a budget and a rate of its own.

A control has to be able to learn, or any transfer would seem to help: few labels make few steps of an epoch, and the
rate that suits pretrained blocks suits random ones only by chance. So neither comes from the fine-tuning, nor from a
search for it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.settings import Train
from graft.metrics.scorer import ACCURACY

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from graft.selection.candidate_training import CandidateTrainer
    from graft.training.checkpoint import CheckpointStore
    from graft.training.finetune import Trained

    Rows = NDArray[np.bool_]

STRATEGY = "scratch"
# Peak rates of the head and of all blocks that are tried, by AdamW with a warm-up; the one between is for where no
# image can be held out.
RATES = (0.001, 0.003, 0.01)
# A try has so many times fewer steps than the control: all three together cost half as much as that.
TRIES = 6


@dataclass(frozen=True)
class Budget:
    """What a control was trained with.

    Attributes:
        steps: optimizer steps of its training, tries left out.
        epochs: passes over its images.
        learning_rate: the peak.
        images: images that it was trained on.
        size: side of its input in pixels.
        tried: (rate, accuracy on held-out training images) of each try; empty where the rate was
            known, or no image could be held out.
    """

    steps: int
    epochs: int
    learning_rate: float
    images: int
    size: int
    tried: tuple[tuple[float, float], ...]

    def to_json(self) -> dict[str, Any]:
        """As model.json has it."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class ScratchControl:
    """Trains the control.

    Attributes:
        trainer: of the winner's network, at the control's size.
        asked: section ``train`` of params.yaml, before any search: of it batch size, imbalance and the keys of the
            control count.
        checkpoints: where a killed training goes on from.
        fabric: the devices that train together; None: one.
        say: told what is done.
    """

    trainer: CandidateTrainer
    asked: Train
    checkpoints: CheckpointStore | None = None
    fabric: Fabric | None = None
    say: Callable[[str], None] = lambda line: None

    def with_seed(self, seed: int) -> ScratchControl:
        """The same by another seed, also of the random weights."""
        return dataclasses.replace(self, trainer=self.trainer.with_seed(seed))

    def train(self, rows: Rows, rate: float | None = None) -> tuple[Trained, Budget]:
        """Train on the images ``rows``, bool (n), at ``rate``; None: at the best of :data:`RATES`.

        That is found on a fold of the rows that the tries are not trained on; of rates that are equally right the one
        nearest to the middle is taken. All in all it costs one and a half times ``train.control_steps``.
        """
        scores: tuple[tuple[float, float], ...] = ()
        if rate is None:
            scores = self._try_rates(rows)
            middle = RATES[len(RATES) // 2]
            order = sorted(scores, key=lambda item: abs(math.log(item[0] / middle)))
            rate = max(order, key=lambda item: item[1])[0] if scores else middle
        images = int(rows.sum())
        settings = self._settings(images, rate)
        trained = self._fit(settings, rows)
        steps = settings.epochs * self._epoch_steps(images)
        size = self.trainer.start(STRATEGY).preprocessing.size
        self.say(f"the control had {steps:,} steps at a rate of {rate:g}, with images of {size} px")
        return trained, Budget(steps, settings.epochs, rate, images, size, scores)

    def _try_rates(self, rows: Rows) -> tuple[tuple[float, float], ...]:
        """Accuracy of a short training at each rate on the smallest fold of the rows; none where too few are left."""
        folds = self.trainer.data.folds
        names, counts = np.unique(folds[rows], return_counts=True)
        held_out = rows & (folds == names[counts.argmin()])
        fitted = rows & ~held_out
        # Batch normalisation has no statistics of a single image.
        if fitted.sum() < 2:
            return ()
        found = []
        for rate in RATES:
            trained = self._fit(self._settings(int(fitted.sum()), rate, TRIES), fitted)
            found.append((rate, self.trainer.score(trained, STRATEGY, held_out, ACCURACY)))
        return tuple(found)

    def _fit(self, settings: Train, rows: Rows) -> Trained:
        trainer = self.trainer.with_settings(settings)
        return trainer.fit(STRATEGY, rows, fabric=self.fabric, checkpoints=self.checkpoints)

    def _settings(self, images: int, rate: float, part: int = 1) -> Train:
        """The control's settings: whole epochs with at least so many steps."""
        epochs = math.ceil(self.asked.control_steps / self._epoch_steps(images) / part)
        return Train(
            epochs=max(1, epochs),
            learning_rate=rate,
            batch_size=self.asked.batch_size,
            imbalance=self.asked.imbalance,
        )

    def _epoch_steps(self, images: int) -> int:
        return math.ceil(images / self.asked.batch_size)
