"""The outcome of a search: the best settings if they beat the current ones, and table and plots of all trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.plotting import plotting, save_svg
from graft.metrics.scorer import ACCURACY, Scorer
from graft.stats.corrected_ttest import corrected_error
from graft.tuning.search import TrialResult
from graft.tuning.space import DIMENSIONS, POLICY, Value

if TYPE_CHECKING:
    import pandas as pd

# Importances of fewer trials than this are noise.
LEAST_FOR_IMPORTANCE = 8


@dataclass(frozen=True)
class Outcome:
    """The outcome of a search.

    Attributes:
        values: what is to be changed of the current settings; empty where nothing beats them.
        reason: why, in words.
        trials: all trials, trial 0 being the current settings.
    """

    values: dict[str, Value]
    reason: str
    trials: tuple[TrialResult, ...]

    def as_json(self) -> dict[str, Any]:
        """What `finetune` reads, and what a person wants to know of it."""
        train = {name: value for name, value in self.values.items() if name != POLICY}
        augment = {name: value for name, value in self.values.items() if name == POLICY}
        return {"train": train, "augment": augment, "reason": self.reason, "trials": len(self.trials)}


def choose_best(trials: Sequence[TrialResult], scorer: Scorer = ACCURACY) -> Outcome:
    """The best trial, if it beats trial 0 on the same folds by more than the standard error of the difference.

    The best of many noisy scores is high by luck as well; what is within one standard error of the current settings,
    paired and corrected for training parts that overlap (:mod:`graft.stats.corrected_ttest`), is not worth leaving
    them.
    """
    if not trials:
        return Outcome({}, "no search was asked for (tune.trials: 0)", ())
    default, *others = trials
    whole = [trial for trial in others if trial.whole]
    if not whole:
        return Outcome({}, "no other trial was scored on all folds", tuple(trials))
    best = max(whole, key=lambda trial: trial.mean)
    gain = np.subtract(best.fold_scores, default.fold_scores)
    error = corrected_error(gain.tolist(), 1 / (len(gain) - 1))
    said = (
        f"the best of {len(trials)} trials had {scorer.said(best.mean)} over the folds, the current settings "
        f"{scorer.shown(default.mean):.3f}: better by {scorer.gap(float(gain.mean()))} with a standard error of "
        f"{scorer.gap(error)}"
    )
    if gain.mean() <= error:
        return Outcome({}, f"the current settings stay: {said}", tuple(trials))
    return Outcome(dict(best.values), said, tuple(trials))


def trials_table(outcome: Outcome, scorer: Scorer = ACCURACY) -> pd.DataFrame:
    """A row per trial in the order they were made; scores are of the column ``metric``, as people read it."""
    import pandas as pd

    rows = [
        {
            "trial": number,
            "score": round(scorer.shown(trial.mean), 4),
            "metric": scorer.metric.name,
            "state": "whole" if trial.whole else "pruned",
            **trial.values,
            "fold_scores": " ".join(f"{scorer.shown(score):.4f}" for score in trial.fold_scores),
        }
        for number, trial in enumerate(outcome.trials)
    ]
    return pd.DataFrame(rows, columns=None if rows else ["trial", "score", "metric", "state", "fold_scores"])


def importances(trials: Sequence[TrialResult], seed: int) -> dict[str, float]:
    """Share of the scores' variance that each hyper-parameter explains, summing to one; empty for too few trials.

    By functional ANOVA of a random forest (F. Hutter et al., An Efficient Approach for Assessing Hyperparameter
    Importance, ICML 2014), as Optuna computes it.
    """
    import optuna

    whole = [trial for trial in trials if trial.whole]
    varied = [name for name in (whole[0].values if whole else ()) if len({trial.values[name] for trial in whole}) > 1]
    if len(whole) < LEAST_FOR_IMPORTANCE or not varied or len({trial.mean for trial in whole}) == 1:
        return {}
    study = optuna.create_study(direction="maximize")
    space = {name: DIMENSIONS[name].distribution() for name in varied}
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={name: DIMENSIONS[name].nearest(trial.values[name]) for name in varied},
                distributions=space,
                value=trial.mean,
            )
            for trial in whole
        ]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    return {
        name: float(value)
        for name, value in optuna.importance.get_param_importances(study, evaluator=evaluator).items()
    }


def plot_trials(outcome: Outcome, shares: dict[str, float], path: Path, scorer: Scorer = ACCURACY) -> None:
    """Scores trial by trial with the best so far, and beside them what mattered."""
    figure, (left, right) = plotting().subplots(1, 2, figsize=(9, 3.6), layout="constrained", width_ratios=(3, 2))
    numbers = np.arange(len(outcome.trials))
    scores = np.array([scorer.shown(trial.mean) for trial in outcome.trials])
    best = np.maximum if scorer.metric.better == "higher" else np.minimum
    whole = np.array([trial.whole for trial in outcome.trials], dtype=bool)
    left.plot(numbers[whole], scores[whole], "o", color="#0072b2", label="all folds")
    if (~whole).any():
        left.plot(numbers[~whole], scores[~whole], "x", color="#999999", label="cut short")
    if whole.any():
        left.plot(numbers[whole], best.accumulate(scores[whole]), color="#d55e00", label="best so far")
        left.axhline(scores[0], color="#000000", ls=":", label="current settings (trial 0)")
        left.legend(fontsize="small")
    left.set(xlabel="trial", ylabel=f"{scorer.name}, mean over folds")
    left.xaxis.get_major_locator().set_params(integer=True)
    names = list(shares)[::-1]
    right.barh(range(len(names)), [shares[name] for name in names], color="#0072b2")
    right.set_yticks(range(len(names)), names)
    right.set_xlabel("share of the scores' variance that it explains")
    if not names:
        right.text(
            0.5, 0.5, "too few trials to say\nwhat mattered", ha="center", va="center", transform=right.transAxes
        )
    for axes in (left, right):
        axes.grid(alpha=0.3)
    save_svg(figure, path)
