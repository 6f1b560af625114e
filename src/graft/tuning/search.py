"""Hyper-parameter search: Optuna proposes, the caller scores each fold, and a killed search goes on.

The current settings are trial 0; the others are proposed by the tree-structured Parzen estimator (TPE; J. Bergstra et
al., Algorithms for Hyper-Parameter Optimization, NIPS 2011). Every proposal is seeded by how many trials were finished
before it, not by a state that is lost with the process: a search that was killed and goes on makes the trials it would
have made anyway.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.determinism import derive_seed
from graft.core.errors import GraftError, TrainingError, WorkerKilledError
from graft.core.memory import free_memory, shortage
from graft.core.settings import Tune
from graft.tuning.space import Space, Value, Values

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

# Scores one setting fold by fold, the greater the better, yielded as they are found, so that a trial can be cut short.
FoldScores = Callable[[Values], Generator[float, None, None]]
STUDY = "graft"
FOLDS_KEY, VALUES_KEY = "fold_scores", "values"
# Trials that are drawn at random before TPE begins to learn from them.
STARTUP = 6


@dataclass(frozen=True)
class TrialResult:
    """One trial.

    Attributes:
        values: of the hyper-parameters, by name.
        fold_scores: scores of the folds that were scored, the greater the better.
        whole: whether all folds were; a pruned trial has fewer.
    """

    values: dict[str, Value]
    fold_scores: tuple[float, ...]
    whole: bool

    @property
    def mean(self) -> float:
        """Mean score over the folds that were scored."""
        return float(np.mean(self.fold_scores))


@dataclass(frozen=True)
class Search:
    """A hyper-parameter search.

    Attributes:
        space: the hyper-parameters.
        defaults: the current settings, trial 0.
        settings: the budget.
        seed: the project's.
        storage: an SQLite file that the search is kept in.
        worst: the score of a fold on which a setting cannot be trained.
    """

    space: Space
    defaults: Values
    settings: Tune
    seed: int
    storage: Path
    worst: float = 0.0

    def run(self, objective: FoldScores, more: Callable[[int], bool]) -> list[TrialResult]:
        """Try until the budget is spent, going on from what ``storage`` holds; every finished trial, in order.

        A trial that cannot be trained, or not in this machine's memory, is cut short, and has the worst score on the
        fold where that showed.

        Args:
            objective: scores one setting.
            more: told how many trials are finished, says whether there is time for another.

        Raises:
            TrainingError: the current settings cannot be trained.
            WorkerKilledError, MemoryError, RuntimeError: they need more memory than there is.
        """
        import optuna

        study = self._study()
        finished = self._finished(study)
        while len(finished) < self.settings.trials and more(len(finished)):
            study.sampler, study.pruner = self._sampler(len(finished)), median_pruner()
            fixed = None if finished else self.defaults
            # One may have been left waiting by a kill; the next trial takes it.
            if fixed is not None and not study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,)):
                # Optuna knows numbers of the ranges only, such as no weight decay of 0.
                study.enqueue_trial(self.space.nearest(fixed))
            trial = study.ask(self.space.distributions())
            trial.set_user_attr(VALUES_KEY, dict(trial.params if fixed is None else fixed))
            try:
                score = _scored(trial, objective)
            except optuna.TrialPruned:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            except (TrainingError, WorkerKilledError, MemoryError, RuntimeError) as error:
                reason = error.what if isinstance(error, GraftError) else shortage(error)
                if not finished or reason is None:
                    raise
                # What it held is let go of, so that the next trial finds its memory.
                error.__traceback__ = None
                free_memory()
                # It would be proposed again, and end every search that goes on.
                print(f"warning: trial {len(finished)} is given up: {reason}", file=sys.stderr, flush=True)
                trial.set_user_attr(FOLDS_KEY, [*trial.user_attrs.get(FOLDS_KEY, ()), self.worst])
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                study.tell(trial, score)
            finished = self._finished(study)
        return finished

    def _study(self) -> optuna.Study:
        import optuna

        optuna.logging.set_verbosity(logging.WARNING)
        self.storage.parent.mkdir(parents=True, exist_ok=True)
        study = optuna.create_study(
            storage=f"sqlite:///{self.storage}", study_name=STUDY, direction="maximize", load_if_exists=True
        )
        # A trial that is running now is one that a kill has cut off: nobody else uses this file.
        for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        return study

    def _sampler(self, finished: int) -> Any:
        import optuna

        seed = derive_seed(self.seed, "tune", finished) % 2**32
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)

    def _finished(self, study: optuna.Study) -> list[TrialResult]:
        from optuna.trial import TrialState

        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        return [
            TrialResult(_values(trial), tuple(trial.user_attrs[FOLDS_KEY]), trial.state == TrialState.COMPLETE)
            for trial in trials
        ]


def _values(trial: optuna.Trial | FrozenTrial) -> dict[str, Value]:
    """What was tried: for the current settings themselves, and not what Optuna was told of them."""
    return dict(trial.user_attrs.get(VALUES_KEY, trial.params))


def _scored(trial: optuna.Trial, objective: FoldScores) -> float:
    """Mean over the folds, each reported as it is found.

    Raises:
        TrialPruned: the folds so far say that it is not worth going on.
    """
    import optuna

    scores: list[float] = []
    # Closed at once: folds of a pruned trial may be under way.
    with closing(objective(_values(trial))) as found:
        for fold, score in enumerate(found):
            scores.append(score)
            trial.set_user_attr(FOLDS_KEY, scores)
            trial.report(float(np.mean(scores)), fold)
            if trial.number > 0 and trial.should_prune():
                raise optuna.TrialPruned
    return float(np.mean(scores))


def median_pruner() -> Any:
    """Cuts trials short after their first folds, from the fifth trial on."""
    import optuna

    return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1)
