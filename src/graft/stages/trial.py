"""Part of the stage `tune`: one fold of one trial, which a mapper's workers do."""

from __future__ import annotations

from dataclasses import dataclass

from graft.stages.job import Job


@dataclass(frozen=True)
class Trial:
    """A job with the settings that are tried."""

    job: Job

    def __call__(self, fold: int) -> float:
        """Score, by `metric`, on one fold of a network that was trained on the others; nothing of it is kept."""
        scored, strategy = self.job.data.folds == fold, self.job.params.train.strategy
        return self.job.score(self.job.try_out(strategy, ~scored), strategy, scored, self.job.params.metric)
