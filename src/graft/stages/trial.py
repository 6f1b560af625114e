"""Part of the stage `tune`: one fold of one trial, which a mapper's workers do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

from graft.evaluate.scorer import scorer
from graft.stages.job import Job

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Trial:
    """A job with the settings that are tried."""

    job: Job

    def __call__(self, fold: int) -> float:
        """Score, by `metric`, on one fold of a network that was trained on the others; nothing of it is kept."""
        labels = self.job.data.labels[self.job.data.folds == fold]
        return scorer(self.job.params.metric)(labels, softmax(self.logits(fold).astype(np.float64), axis=1))

    def logits(self, fold: int) -> NDArray[np.float32]:
        """What that network says of the images of the fold, (m, classes)."""
        scored, strategy = self.job.data.folds == fold, self.job.searched
        return self.job.logits(self.job.try_out(strategy, ~scored), strategy, scored)
