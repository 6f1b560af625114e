"""What the stage `finetune` trains, resolved once from the settings and from what earlier stages found."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graft.core.files import sha256
from graft.core.settings import Params, Trust
from graft.core.workspace import Workspace
from graft.pipeline.inputs.planned import deadline_of, with_plan
from graft.pipeline.inputs.winner import Winner, read_winner, searched_strategy, winner_trainer

if TYPE_CHECKING:
    from pathlib import Path

    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from graft.selection.candidate_training import CandidateTrainer
    from graft.training.auto_strategy import StrategyChoice
    from graft.training.checkpoint import CheckpointStore
    from graft.training.finetune import Report, Trained

    # Which images are meant, bool (n).
    Rows = NDArray[np.bool_]


@dataclass(frozen=True)
class Finetuning:
    """What the stage trains, resolved once.

    Attributes:
        winner: of the selection.
        trainer: of its network, by the settings that the search found.
        choice: the strategy that is delivered.
        scores: of each strategy that was tried, on the folds.
        logits: out-of-fold (m, k) by the strategy that is delivered.
        places: which of the training images (m) those are of.
        trust: settings of the calibration.
        checkpoints: of all networks, until all of them are done.
        splits_sha256: of the table of splits, for model.json.
    """

    winner: Winner
    trainer: CandidateTrainer
    choice: StrategyChoice
    scores: Mapping[str, tuple[float, ...]]
    logits: NDArray[np.float32]
    places: NDArray[np.intp]
    trust: Trust
    checkpoints: CheckpointStore
    splits_sha256: str


def resolve(params: Params, workspace: Workspace) -> Finetuning:
    """Read what selection and search found.

    Raises:
        ConfigError: there is no such strategy, or a network from scratch has no epochs.
        DataError: a stage before this one has not run, or its results are of other images.
    """
    from graft.augmentation.policy_config import parse_policies
    from graft.pipeline.tune import scorer_of, with_tuned_settings
    from graft.selection.candidate_training import score_by_fold
    from graft.selection.out_of_fold import FILE, read_logits, read_outputs, rightly_named
    from graft.training.auto_strategy import choose_strategy
    from graft.training.checkpoint import CheckpointStore
    from graft.training.strategies import STRATEGIES

    params = with_tuned_settings(with_plan(params, workspace, "finetune"), workspace)
    winner, by = read_winner(workspace), scorer_of(params)
    deadline = deadline_of(params, workspace, "finetune")
    trainer = dataclasses.replace(winner_trainer(winner, params, workspace), deadline=deadline)
    scores, searched = dict(winner.scores), searched_strategy(winner, params)
    tuned, data = workspace.tuning / FILE, trainer.data
    outputs = read_outputs(workspace.selection / FILE, scores, data)
    if tuned.exists():
        # Else the head alone, once it was better, would be delivered however much better fine-tuning became.
        outputs |= read_outputs(tuned, [searched], data)
        folds = len(next(iter(scores.values()), ())) or None
        scores[searched] = score_by_fold(outputs[searched], data, by)[:folds]
    right = rightly_named(outputs, data.labels) if by.metric.name == "accuracy" and outputs else None
    choice = choose_strategy(params.train, winner.candidate.weights, scores, by.shown, right)
    # Refused here where it cannot be trained by these settings.
    STRATEGIES[choice.strategy].plan(winner.blocks, params.train)
    table = tuned if tuned.exists() and choice.strategy == searched else workspace.selection / FILE
    logits, places = read_logits(table, trainer.data, choice.strategy)
    identity = json.dumps(parse_policies(trainer.augment).as_json())
    checkpoints = CheckpointStore(workspace.checkpoints / "finetune", identity)
    return Finetuning(
        winner,
        trainer,
        choice,
        scores,
        logits,
        places,
        params.trust,
        checkpoints,
        sha256(workspace.splits),
    )


def without_blocks(job: Finetuning, table: Path) -> Finetuning:
    """The same with the head alone, which is delivered where the time limit passes while blocks are trained."""
    from graft.selection.out_of_fold import read_logits
    from graft.training.auto_strategy import OUT_OF_TIME, StrategyChoice

    choice = StrategyChoice("extract", "time_limit", OUT_OF_TIME)
    logits, places = read_logits(table, job.trainer.data, choice.strategy)
    trainer = dataclasses.replace(job.trainer, deadline=None)
    return dataclasses.replace(job, choice=choice, logits=logits, places=places, trainer=trainer)


def fit(job: Finetuning, rows: Rows, fabric: Fabric | None, report: Report | None = None) -> Trained:
    """The winner's network, trained on the images ``rows`` by the strategy that is delivered."""
    return job.trainer.fit(job.choice.strategy, rows, fabric=fabric, checkpoints=job.checkpoints, report=report)
