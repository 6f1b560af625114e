"""Stage `tune`: search for better settings of the fine-tuning, cross-validated on the training images."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.errors import DataError
from graft.files import sha256, whole_file, whole_folder, write_json
from graft.settings import Params
from graft.stages.runner import run_stage
from graft.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from graft.mapper.mapper import Mapper
    from graft.stages.job import Job
    from graft.tune.outcome import Outcome
    from graft.tune.search import Search, Tried
    from graft.tune.space import Values

BEST = "best.json"


def run(params: Params, workspace: Workspace) -> None:
    """Write the best settings, a table and pictures of all trials into reports/tuning.

    Where other settings than those at hand are best, out_of_fold.parquet is the table of the selection for them.

    Raises:
        ConfigError: something cannot be searched.
        TrainingError: the settings at hand cannot be trained.
    """
    from graft.determinism import make_deterministic
    from graft.evaluate.scorer import scorer
    from graft.mapper.factory import mapper_for
    from graft.stages.job import Job
    from graft.train.devices import fabric_for
    from graft.tune.outcome import decide

    by = scorer(params.metric)
    if not params.tune.trials:
        outcome, out_of_fold = decide([], by), None
    else:
        make_deterministic(params.compute.threads)
        job = Job.open(params, workspace, fabric_for(params.compute.device))
        with mapper_for(params.compute) as mapper:
            outcome = decide(searched(job, mapper), by)
            out_of_fold = out_of_fold_of(job, outcome.values, mapper) if outcome.values else None
    print(f"tune: {outcome.reason}")
    write(outcome, out_of_fold, params, workspace)


def searched(job: Job, mapper: Mapper) -> list[Tried]:
    """Every trial, from those that an earlier, killed run made on."""
    from graft.progress import track

    params = job.params
    search = search_of(job)
    began = time.monotonic()

    def more(finished: int) -> bool:
        return params.tune.minutes is None or time.monotonic() - began < 60 * params.tune.minutes

    bar = iter(track(range(search.most), "trying settings"))
    # Decoded here once, and not by each worker.
    job.prepared(job.winner)

    def objective(values: Values) -> Generator[float, None, None]:
        next(bar, None)
        return fold_scores(job, values, mapper)

    return search.run(objective, more)


def search_of(job: Job) -> Search:
    """The search that params.yaml asks for, kept under everything that decides its trials."""
    from graft.augment.choice import choose
    from graft.evaluate.scorer import scorer
    from graft.features.keys import key_of
    from graft.select.candidates import around
    from graft.train.checkpoints import code_version
    from graft.tune.search import Search
    from graft.tune.space import space_of
    from graft.zoo.weights import weights_digest

    params, workspace = job.params, job.workspace
    settings = params.train
    space = space_of(params.tune.search, params.augment.domain)
    asked = dataclasses.replace(params.tune, trials=0, minutes=None)
    # Of the augmentation, what decides: the policy, however it is written, and the policies that may be tried. Another
    # domain that allows the same goes on with the same search.
    augmentation = (choose(params.augment).as_json(), space.distributions())
    # Not names alone: a source model that was trained anew, or another file of the same name, is another network.
    weights = weights_digest(job.winner, around(params, workspace.source_models))
    shown = (sha256(workspace.splits), job.data.images.digests)
    decided = (asked, params.metric, settings, augmentation, params.seed, job.winner, weights, shown)
    key = key_of(*map(str, decided), code_version())[:32]
    storage = workspace.checkpoints / f"tune-{key}.db"
    return Search(space, space.defaults(settings), params.tune, params.seed, storage, scorer(params.metric).worst)


def fold_scores(job: Job, values: Values, mapper: Mapper) -> Generator[float, None, None]:
    """Score on each fold of the winner trained on the others with ``values``; the same seed for all settings.

    Folds of one trial are what is spread: whoever proposes the next trial has to know all of this one.
    """
    from graft.mapper.outcomes import value_of
    from graft.stages.trial import Trial

    folds = np.unique(job.data.folds).tolist()
    yield from map(value_of, mapper.map(Trial(with_values(job, values)), folds, "its folds"))


def with_values(job: Job, values: Values) -> Job:
    """The job with the settings that are tried."""
    from graft.tune.space import applied

    return dataclasses.replace(job, params=applied(job.params, values))


def out_of_fold_of(job: Job, values: Values, mapper: Mapper) -> pd.DataFrame:
    """What selection writes of the winner, for other settings of its training: every fold is trained once more."""
    from graft.mapper.outcomes import value_of
    from graft.select.out_of_fold import out_of_fold_table
    from graft.stages.trial import Trial

    folds = np.unique(job.data.folds).tolist()
    logits = np.zeros((len(job.data.labels), len(job.data.classes)), np.float32)
    said = map(value_of, mapper.map(Trial(with_values(job, values)).logits, folds, "the best settings"))
    for fold, found in zip(folds, said, strict=True):
        logits[job.data.folds == fold] = found
    return out_of_fold_table(logits, job.data)


def write(outcome: Outcome, out_of_fold: pd.DataFrame | None, params: Params, workspace: Workspace) -> None:
    """Everything that reports/tuning holds."""
    from graft.evaluate.scorer import scorer
    from graft.select.out_of_fold import FILE
    from graft.tune.outcome import draw, importances, table

    with whole_folder(workspace.tuning) as folder:
        write_json(folder / BEST, outcome.as_json())
        if out_of_fold is not None:
            with whole_file(folder / FILE) as beside:
                out_of_fold.to_parquet(beside, index=False)
        with whole_file(folder / "trials.csv") as beside:
            table(outcome, scorer(params.metric)).to_csv(beside, index=False)
        if outcome.trials:
            shares = importances(outcome.trials, params.seed)
            write_json(folder / "importance.json", shares)
            draw(outcome, shares, folder / "tuning.svg", scorer(params.metric))


def tuned(params: Params, workspace: Workspace) -> Params:
    """The settings with what the search found better.

    Raises:
        DataError: there was no search yet, or its result is damaged.
    """
    from graft.tune.space import applied

    path = workspace.tuning / BEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        values: dict[str, Any] = {**found["train"], **found["augment"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(
            "the result of the stage tune is missing or damaged", where=path, remedy="run `.venv/bin/dvc repro`"
        ) from None
    if values:
        said = (f"{key} {value if isinstance(value, str) else format(value, '.3g')}" for key, value in values.items())
        print(f"settings from the search: {', '.join(said)}")
    return applied(params, values)


if __name__ == "__main__":
    raise SystemExit(run_stage("tune", run))
