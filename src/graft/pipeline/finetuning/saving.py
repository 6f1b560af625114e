"""Writes trained networks as artifacts with their provenance: the model, its control, both on fewer labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from graft.calibration.fit import CalibrationFit
    from graft.selection.candidate_training import CandidateTrainer
    from graft.training.finetune import Trained

    Rows = NDArray[np.bool_]


def save_model(
    folder: Path,
    trainer: CandidateTrainer,
    strategy: str,
    trained: Trained,
    rows: Rows,
    cut_after: int | None,
    provenance: dict[str, Any],
    calibration: CalibrationFit | None = None,
) -> None:
    """Write a network that was trained on the images ``rows``.

    Args:
        folder: of the artifact.
        trainer: that trained it.
        strategy: by which.
        trained: the network.
        rows: bool (n).
        cut_after: the last block that is kept; None: all are.
        provenance: more of it, such as the hash of the splits and a control's budget.
        calibration: how far its answers are to be trusted, where that was fitted.
    """
    from graft.calibration.fit import NOT_FITTED
    from graft.inference.artifact import Artifact, save_artifact

    start, found = trainer.start(strategy), calibration or NOT_FITTED
    known = {
        "seed": trainer.seed,
        "strategy": strategy,
        "epochs": trained.epochs,
        "precision": trained.precision,
        "train_images": int(rows.sum()),
    }
    artifact = Artifact(
        trainer.data.classes,
        start.candidate.arch,
        start.candidate.weights,
        cut_after,
        start.preprocessing,
        provenance=known | provenance,
        trust=found.trust,
        task=trainer.data.task.name,
    )
    save_artifact(folder, artifact, trained.network, found.reference)
