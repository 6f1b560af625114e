"""Stage `tune`: search for better settings of the fine-tuning, cross-validated on the training images."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any

from graft.core.errors import DataError
from graft.core.files import atomic_dir, atomic_file, sha256, write_json
from graft.core.settings import Params
from graft.core.workspace import Workspace
from graft.pipeline.execution.runner import run_stage
from graft.pipeline.inputs.planned import with_plan
from graft.pipeline.inputs.winner import Winner, read_winner, searched_strategy, winner_trainer

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from graft.metrics.scorer import Scorer
    from graft.parallel.mapper import Mapper
    from graft.selection.candidate_training import CandidateTrainer
    from graft.selection.inputs import TrainSet
    from graft.tuning.outcome import Outcome
    from graft.tuning.search import Search, TrialResult
    from graft.tuning.trials import Trials

BEST = "best.json"


def run(params: Params, workspace: Workspace) -> None:
    """Write the best settings, a table and pictures of all trials into reports/tuning.

    Where other settings than those at hand are best, out_of_fold.parquet is the table of the selection for them.

    Raises:
        ConfigError: something cannot be searched.
        TrainingError: the current settings cannot be trained.
    """
    from graft.core.determinism import make_deterministic
    from graft.parallel.factory import mapper_for
    from graft.tuning.outcome import choose_best

    params, by = with_plan(params, workspace, "tune"), scorer_of(params)
    if not params.tune.trials:
        write(choose_best([], by), params, workspace)
        return
    make_deterministic(params.compute.threads)
    winner = read_winner(workspace)
    trainer = winner_trainer(winner, params, workspace)
    with mapper_for(params.compute) as mapper:
        trials = make_trials(winner, trainer, params, mapper)
        outcome = choose_best(
            run_search(make_search(winner, trainer, params, workspace), trials, params.tune.minutes), by
        )
        logits = trials.logits(outcome.values) if outcome.values else None
    write(outcome, params, workspace, logits, trainer.data, trials.strategy)


def scorer_of(params: Params) -> Scorer:
    """The metric that settings are chosen by."""
    from graft.metrics.scorer import scorer
    from graft.tasks.registry import find_task

    return scorer(params.metric, find_task(params.data.task).metrics)


def make_trials(winner: Winner, trainer: CandidateTrainer, params: Params, mapper: Mapper) -> Trials:
    """What the settings of a search are tried by."""
    from graft.tuning.trials import Trials

    return Trials(trainer, searched_strategy(winner, params), scorer_of(params), mapper)


def make_search(winner: Winner, trainer: CandidateTrainer, params: Params, workspace: Workspace) -> Search:
    """The search that params.yaml asks for, kept under everything that decides its trials."""
    from graft.augmentation.policy_config import parse_policies
    from graft.features.keys import key_of
    from graft.inference.pretrained import weights_digest
    from graft.training.checkpoint import training_code_version
    from graft.tuning.search import Search
    from graft.tuning.space import search_space

    space = search_space(params.tune.search, trainer.augment.domain)
    asked = dataclasses.replace(params.tune, trials=0, minutes=None)
    # Of the augmentation, what decides: the policy, however it is written, and the policies that may be tried. Another
    # domain that allows the same goes on with the same search.
    augmentation = (parse_policies(trainer.augment).as_json(), space.distributions())
    # Not names alone: a source model that was trained anew, or another file of the same name, is another network.
    weights = weights_digest(winner.candidate, trainer.transfer.weights)
    shown = (sha256(workspace.splits), trainer.data.images.digests)
    model = (winner.candidate, winner.depth, weights)
    decided = (asked, params.metric, trainer.settings, augmentation, params.seed, model, shown)
    key = key_of(*map(str, decided), training_code_version())[:32]
    storage = workspace.checkpoints / f"tune-{key}.db"
    worst = scorer_of(params).worst
    return Search(space, space.defaults(trainer.settings), params.tune, params.seed, storage, worst)


def run_search(search: Search, trials: Trials, minutes: float | None) -> list[TrialResult]:
    """Every trial, from those that an earlier, killed run made on; none is begun after so many minutes."""
    from graft.core.progress import track

    began = time.monotonic()
    # Decoded here once, and not by each worker.
    trials.trainer.images(trials.strategy)
    bar = iter(track(range(search.settings.trials), "trying settings"))

    def more(finished: int) -> bool:
        next(bar, None)
        return minutes is None or time.monotonic() - began < 60 * minutes

    return search.run(trials.scores, more)


def write(
    outcome: Outcome,
    params: Params,
    workspace: Workspace,
    logits: NDArray[np.float32] | None = None,
    data: TrainSet | None = None,
    strategy: str = "finetune",
) -> None:
    """Everything that reports/tuning holds; ``logits`` (n, classes) of ``data`` by ``strategy`` are the best
    settings'."""
    from graft.selection.out_of_fold import FILE, out_of_fold_table
    from graft.tuning.outcome import importances, plot_trials, trials_table

    print(f"tune: {outcome.reason}")
    by = scorer_of(params)
    with atomic_dir(workspace.tuning) as folder:
        write_json(folder / BEST, outcome.as_json())
        if logits is not None and data is not None:
            with atomic_file(folder / FILE) as beside:
                out_of_fold_table({strategy: logits}, data).to_parquet(beside, index=False)
        with atomic_file(folder / "trials.csv") as beside:
            trials_table(outcome, by).to_csv(beside, index=False)
        if outcome.trials:
            shares = importances(outcome.trials, params.seed)
            write_json(folder / "importance.json", shares)
            plot_trials(outcome, shares, folder / "tuning.svg", by)


def read_best(path: Path) -> dict[str, Any]:
    """The values that the search found better, by name; empty where the current settings stay.

    Raises:
        DataError: there was no search yet, or its result is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {**found["train"], **found["augment"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(
            "the result of the stage tune is missing or damaged", where=path, remedy="run `.venv/bin/dvc repro`"
        ) from None


def with_tuned_settings(params: Params, workspace: Workspace) -> Params:
    """The settings with what the search found better.

    Raises:
        DataError: there was no search yet, or its result is damaged.
    """
    from graft.tuning.space import apply_values

    values = read_best(workspace.tuning / BEST)
    if values:
        said = (f"{key} {value if isinstance(value, str) else format(value, '.3g')}" for key, value in values.items())
        print(f"settings from the search: {', '.join(said)}")
    train, augment = apply_values(params.train, params.augment, values)
    return dataclasses.replace(params, train=train, augment=augment)


if __name__ == "__main__":
    raise SystemExit(run_stage("tune", run))
