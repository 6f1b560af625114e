"""Stage `pretrain`: check that every candidate's weights can be had, and train the source models that are asked for."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.core.files import atomic_dir, atomic_file, write_json
from graft.core.settings import Params
from graft.core.workspace import Workspace
from graft.pipeline.runner import run_stage
from graft.pretraining.source_dataset import GLYPHS

if TYPE_CHECKING:
    from graft.inference.artifact import Artifact
    from graft.pretraining.source_tasks import SourceTask


def run(params: Params, workspace: Workspace) -> None:
    """Write a source model per candidate with ``weights: source`` into models/source, and their scores.

    Raises:
        ConfigError: unknown architecture, or a size it cannot take.
        DataError: the source's images cannot be read.
        TrainingError: the loss is not finite.
        WeightsError: weights that a candidate names cannot be had.
    """
    from graft.augmentation.auto_policy import with_candidates
    from graft.models.weights.weights import WeightsContext, locate
    from graft.pretraining.source_tasks import task_of

    params = with_candidates(params, workspace.augmentation)

    around = WeightsContext(workspace.source_models, params.zoo.offline, params.seed)
    for candidate in params.zoo.candidates:
        locate(candidate, around)
    workspace.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=workspace.cache, prefix="pretrain.") as scratch:
        task = task_of(params, workspace, Path(scratch))
        with atomic_dir(workspace.source_models) as models:
            made = _provide(task, params, workspace.cache, models)
            scores = {name: _score(artifact) for name, artifact in made.items()}
            # A folder that holds nothing cannot be versioned, and an empty list says something too.
            write_json(models / "source.json", {"task": _described(task), "models": scores})
        with atomic_dir(workspace.pretraining) as reports:
            write_json(reports / "scores.json", scores)
            _draw(task, reports / ("characters.png" if params.pretrain.source == GLYPHS else "images.png"))


def _provide(task: SourceTask, params: Params, cache: Path, models: Path) -> dict[str, Artifact]:
    from graft.models.weights.weights import source_folder
    from graft.pretraining.source_models import Sources

    sources = Sources(task, params, cache / "source models")
    made: dict[str, Artifact] = {}
    for candidate in params.zoo.candidates:
        folder = source_folder(models, candidate)
        if candidate.weights == "source" and folder.name not in made:
            made[folder.name] = sources.provide(candidate, folder)
            print(f"  {_sentence(_score(made[folder.name]))}", flush=True)
    return made


def _score(artifact: Artifact) -> dict[str, Any]:
    names = ("accuracy", "accuracy_ci95", "held_out_images", "train_images", "classes", "losses")
    return {name: artifact.provenance[name] for name in names}


def _described(task: SourceTask) -> dict[str, Any]:
    return {"name": task.name, "classes": list(task.classes), "data_sha256": task.digest}


def _sentence(score: dict[str, Any]) -> str:
    low, high = score["accuracy_ci95"]
    return (
        f"accuracy on {score['held_out_images']} unseen images of {score['classes']} classes: {score['accuracy']:.3f} "
        f"(95% interval {low:.3f} to {high:.3f})"
    )


def _draw(task: SourceTask, path: Path) -> None:
    """Some images of each class, as people would look at the source task."""
    import numpy as np
    from PIL import Image

    with atomic_file(path) as beside:
        Image.fromarray(np.ascontiguousarray(task.sheet())).save(beside)


if __name__ == "__main__":
    raise SystemExit(run_stage("pretrain", run, uses_torch=True))
