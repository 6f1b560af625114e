"""The training set, and the inputs of a selection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graft.core.settings import Params
from graft.core.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path

    from graft.features.cache import ArrayCache
    from graft.selection.inputs import SelectionInputs, TrainSet
    from graft.tasks.base import Task


def train_set(workspace: Workspace, task: Task) -> TrainSet:
    """The training rows of the splits, in a fixed order, with the hashes that the manifest holds."""
    import pandas as pd

    from graft.core.packed_files import open_folder
    from graft.features.image_cache import ImageSet
    from graft.selection.inputs import TrainSet

    splits = pd.read_parquet(workspace.splits)
    known = pd.read_parquet(workspace.manifest)
    facts = known[[name for name in known if name not in splits or name == "path"]]
    rows = splits[splits["split"] == "train"].merge(facts, on="path", how="left").sort_values("path")
    images = ImageSet(open_folder(workspace.raw), tuple(rows["path"]), tuple(rows["sha256"]))
    return TrainSet.of(rows, images, task.classes(splits["label"]), task)


def selection_inputs(data: TrainSet, params: Params, sources: Path, store: ArrayCache) -> SelectionInputs:
    """The inputs of a selection by ``params``; ``sources`` is the folder of the models that were pretrained here."""
    from graft.models.weights.locate import WeightsContext
    from graft.selection.inputs import SelectionInputs, SelectionSettings

    settings = SelectionSettings(
        candidates=params.zoo.candidates,
        metric=params.metric,
        select=params.select,
        fit=params.preprocess.fit,
        depth_scaling=params.image.depth_scaling,
        weights=WeightsContext(sources, offline=False, seed=params.seed),
        train=params.train,
        augment=params.augment,
        device=params.compute.device,
        seed=params.seed,
    )
    return SelectionInputs(data, settings, store)
