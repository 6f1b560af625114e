"""Training and scoring a candidate without each fold by the settings that a search proposes."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.metrics.scorer import Scorer
from graft.parallel.mapper import Mapper
from graft.parallel.outcomes import value_of
from graft.selection.candidate_training import CandidateTrainer
from graft.tuning.space import Values, apply_values

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass
class Trials:
    """Cross-validates settings; all of them are trained with the same seed.

    Attributes:
        trainer: with the current settings.
        strategy: what is trained by.
        scorer: of the folds.
        mapper: spreads the folds of a trial: whoever proposes the next trial has to know all of this one.
    """

    trainer: CandidateTrainer
    strategy: str
    scorer: Scorer
    mapper: Mapper
    _best: tuple[float, dict[str, Any], NDArray[np.float32]] | None = None

    def scores(self, values: Values) -> Generator[float, None, None]:
        """The score of each fold, as it is found; the out-of-fold logits of the best settings so far are kept."""
        data, found = self.trainer.data, list[float]()
        logits = np.zeros((len(data.labels), len(data.outputs)), np.float32)
        for fold, said in self._fold_logits(values):
            logits[data.folds == fold] = said
            found.append(data.score(said, data.folds == fold, self.scorer))
            yield found[-1]
        mean = float(np.mean(found))
        if self._best is None or mean > self._best[0]:
            self._best = mean, dict(values), logits

    def logits(self, values: Values) -> NDArray[np.float32]:
        """Out-of-fold logits (n, classes) by some settings.

        They are those of the trial itself if it is the best that was made here; else the folds are trained again, as
        after a kill.
        """
        if self._best is None or self._best[1] != dict(values):
            self._best = None
            for _ in self.scores(values):
                pass
        assert self._best is not None, "all folds were scored"
        return self._best[2]

    def _fold_logits(self, values: Values) -> Iterator[tuple[int, NDArray[np.float32]]]:
        train, augment = apply_values(self.trainer.settings, self.trainer.augment, values)
        trainer = dataclasses.replace(self.trainer, settings=train, augment=augment)
        folds = np.unique(trainer.data.folds).tolist()
        work = partial(trainer.fold_logits, self.strategy, ("finetune",))
        yield from zip(folds, map(value_of, self.mapper.map(work, folds, "its folds")), strict=True)
