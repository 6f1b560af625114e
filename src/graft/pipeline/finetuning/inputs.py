"""What the stage `finetune` trains, resolved once from the settings and from what earlier stages found."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graft.core.files import sha256
from graft.core.settings import Compute, Params, Train, Trust
from graft.core.workspace import Workspace
from graft.pipeline.inputs.winner import Winner, read_winner, searched_strategy, winner_trainer

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    import numpy as np
    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from graft.calibration.fit import CalibrationFit
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
        asked: ``train`` as params.yaml has it, before any search: the control's.
        choice: the strategy that is delivered.
        scores: of each strategy that was tried, on the folds.
        logits: out-of-fold (n, k) by the strategy that is delivered.
        trust: settings of the calibration.
        compute: what the fold pairs are spread over.
        checkpoints: of all networks, until all of them are done.
        splits_sha256: of the table of splits, for model.json.
    """

    winner: Winner
    trainer: CandidateTrainer
    asked: Train
    choice: StrategyChoice
    scores: Mapping[str, tuple[float, ...]]
    logits: NDArray[np.float32]
    trust: Trust
    compute: Compute
    checkpoints: CheckpointStore
    splits_sha256: str

    def with_seed(self, seed: int) -> Finetuning:
        """The same with another seed for training."""
        return dataclasses.replace(self, trainer=self.trainer.with_seed(seed))


def resolve(params: Params, workspace: Workspace) -> Finetuning:
    """Read what selection and search found.

    Raises:
        ConfigError: there is no such strategy, or a network from scratch has no epochs.
        DataError: a stage before this one has not run, or its results are of other images.
    """
    from graft.augmentation.policy_config import parse_policies
    from graft.pipeline.tune import scorer_of, with_tuned_settings
    from graft.selection.candidate_training import score_by_fold
    from graft.selection.out_of_fold import FILE, read_logits
    from graft.training.auto_strategy import choose_strategy
    from graft.training.checkpoint import CheckpointStore
    from graft.training.strategies import STRATEGIES

    asked, params = params.train, with_tuned_settings(params, workspace)
    winner, by = read_winner(workspace), scorer_of(params)
    trainer = winner_trainer(winner, params, workspace)
    scores, searched = dict(winner.scores), searched_strategy(winner, params)
    table = workspace.tuning / FILE
    found = read_logits(table, trainer.data) if table.exists() else None
    if found is not None:
        # Else the head alone, once it was better, would be delivered however much better fine-tuning became.
        scores[searched] = score_by_fold(found, trainer.data, by)
    choice = choose_strategy(params.train, winner.candidate.weights, scores, by.shown)
    # Refused here where it cannot be trained by these settings.
    STRATEGIES[choice.strategy].plan(winner.blocks, params.train)
    if found is None or choice.strategy != searched:
        found = read_logits(workspace.selection / FILE, trainer.data)
    identity = json.dumps(parse_policies(trainer.augment).as_json())
    checkpoints = CheckpointStore(workspace.checkpoints / "finetune", identity)
    return Finetuning(
        winner,
        trainer,
        asked,
        choice,
        scores,
        found,
        params.trust,
        params.compute,
        checkpoints,
        sha256(workspace.splits),
    )


def fit(job: Finetuning, rows: Rows, fabric: Fabric | None, report: Report | None = None) -> Trained:
    """The winner's network, trained on the images ``rows`` by the strategy that is delivered."""
    return job.trainer.fit(job.choice.strategy, rows, fabric=fabric, checkpoints=job.checkpoints, report=report)


def save(
    job: Finetuning,
    folder: Path,
    strategy: str,
    trained: Trained,
    rows: Rows,
    calibration: CalibrationFit | None = None,
    budget: dict[str, Any] | None = None,
) -> None:
    """Write a model, with its provenance, that was trained on the images ``rows``.

    How far its answers are to be trusted, where that was fitted, and a control's ``budget`` go along.
    """
    from graft.calibration.fit import NOT_FITTED
    from graft.inference.artifact import Artifact, save_artifact

    start, found = job.trainer.start(strategy), calibration or NOT_FITTED
    provenance = {
        "seed": job.trainer.seed,
        "strategy": strategy,
        "epochs": trained.epochs,
        "precision": trained.precision,
        "train_images": int(rows.sum()),
        "splits_sha256": job.splits_sha256,
        **({} if budget is None else {"budget": budget}),
    }
    artifact = Artifact(
        job.trainer.data.classes,
        start.candidate.arch,
        start.candidate.weights,
        None if job.winner.depth == job.winner.blocks - 1 else job.winner.depth,
        start.preprocessing,
        provenance=provenance,
        trust=found.trust,
        task=job.trainer.data.task.name,
    )
    save_artifact(folder, artifact, trained.network, found.reference)
