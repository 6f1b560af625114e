"""Stage `pretrain`: check that every candidate's weights can be had, and train the source models that are asked for."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.core.errors import DataError
from graft.core.files import atomic_dir, write_json
from graft.core.settings import Params
from graft.core.workspace import Workspace
from graft.pipeline.execution.runner import run_stage
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
    from graft.models.weights.locate import WeightsContext, locate_weights

    params = with_candidates(params, workspace.augmentation)

    around = WeightsContext(workspace.source_models, offline=False, seed=params.seed)
    for candidate in params.zoo.candidates:
        locate_weights(candidate, around)
    workspace.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=workspace.cache, prefix="pretrain.") as scratch:
        task = source_task(params, workspace, Path(scratch))
        with atomic_dir(workspace.source_models) as models:
            made = _provide(task, params, workspace.cache, models) if _trains(params) else {}
            scores = {name: _score(artifact) for name, artifact in made.items()}
            # A folder that holds nothing cannot be versioned, and an empty list says something too.
            write_json(models / "source.json", {"task": _described(task), "models": scores})
        with atomic_dir(workspace.pretraining) as reports:
            write_json(reports / "scores.json", scores)


def _trains(params: Params) -> bool:
    """Whether any candidate's weights are made here; to find that there is nothing to do takes no torch."""
    return any(candidate.weights == "source" for candidate in params.zoo.candidates)


def _provide(task: SourceTask, params: Params, cache: Path, models: Path) -> dict[str, Artifact]:
    from graft.core.determinism import make_deterministic
    from graft.models.weights.locate import source_folder
    from graft.pretraining.source_models import SourceModelStore

    make_deterministic(params.compute.threads)
    kept = cache / "source models"
    store = SourceModelStore(task, params.pretrain, params.seed, params.compute.device, kept)
    made: dict[str, Artifact] = {}
    for candidate in params.zoo.candidates:
        folder = source_folder(models, candidate)
        if candidate.weights == "source" and folder.name not in made:
            made[folder.name] = store.provide(candidate, folder)
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


def source_task(params: Params, workspace: Workspace, scratch: Path) -> SourceTask:
    """The source task that ``pretrain.source`` names.

    Args:
        params: all settings.
        workspace: where the gather stage left what it found.
        scratch: a folder that stays as long as the task is used; built-in images are written there.

    Raises:
        DataError: the source was not gathered, or was changed since.
    """
    from graft.features.cache import ArrayCache
    from graft.pretraining.source_dataset import FACTS_FILE, TABLE_FILE, find_source, samples_by_path
    from graft.pretraining.source_tasks import GlyphTask, ImageTask

    source = params.pretrain.source
    if source == GLYPHS:
        return GlyphTask(params.pretrain.images_per_class, params.seed)
    import pandas as pd

    try:
        facts = json.loads((workspace.gathered / FACTS_FILE).read_text(encoding="utf-8"))
        table = pd.read_parquet(workspace.gathered / TABLE_FILE)
    except FileNotFoundError as error:
        raise DataError(
            "the source's images were not gathered yet",
            where=error.filename,
            remedy="run `.venv/bin/dvc repro pretrain`",
        ) from None
    samples = samples_by_path(find_source(source, workspace.root, scratch, params.data.follow_links))
    gone = [path for path in table["path"] if path not in samples]
    if gone:
        raise DataError(
            f"an image of the source is gone since it was gathered: {gone[0]}"
            + (f"; so are {len(gone) - 1} more" if len(gone) > 1 else ""),
            where=source,
            remedy="run `.venv/bin/dvc repro pretrain`",
        )
    files = tuple(samples[path].file for path in table["path"])
    return ImageTask(source, facts["data_sha256"], table, files, ArrayCache(workspace.cache, params.compute.cache_gb))


if __name__ == "__main__":
    raise SystemExit(run_stage("pretrain", run))
