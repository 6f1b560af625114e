"""Paths of a project, relative to the folder that holds params.yaml."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.core.errors import ConfigError


@dataclass(frozen=True)
class ProjectPath:
    """An attribute of :class:`Workspace`: a path below its root.

    Attributes:
        path: relative to the root.
    """

    path: str

    def __get__(self, workspace: Workspace, owner: Any = None) -> Path:
        """The path below the workspace's root."""
        return workspace.root / self.path


@dataclass(frozen=True)
class Workspace:
    """The paths of one project; dvc.yaml names the same ones (a test compares them).

    Attributes:
        root: the project's folder.
    """

    root: Path = Path()

    params = ProjectPath("params.yaml")  # the only file a user edits

    # Links to the user's data and weights, by which DVC sees changes; named by the keys of params.yaml.
    links = ProjectPath("data/.links")
    source_link = ProjectPath("data/.links/data.source")
    pretraining_link = ProjectPath("data/.links/pretrain.source")
    weights_links = ProjectPath("data/.links/weights")

    gathered = ProjectPath("data/pretraining")  # images that source models are trained on
    raw = ProjectPath("data/raw")  # the images, in class folders
    ingested = ProjectPath("data/ingested.parquet")  # path, label, split and group of every image, as in the source
    manifest = ProjectPath("data/manifest.parquet")  # a row per image with its statistics and problems
    splits = ProjectPath("data/splits.parquet")  # path, label, split (train or test), fold, group
    split_history = ProjectPath("data/split_history.json")  # images that were ever tested or trained on; kept for good
    validated = ProjectPath("data/validated.json")  # statistics of the last data that passed validation

    validation = ProjectPath("reports/validation")
    augmentation = ProjectPath("reports/augmentation")
    pretraining = ProjectPath("reports/pretraining")
    plan = ProjectPath("reports/plan")  # what the preset and the time limit come to
    selection = ProjectPath("reports/selection")
    tuning = ProjectPath("reports/tuning")
    live = ProjectPath("reports/live")  # learning curves of the training under way
    training = ProjectPath("reports/training")
    scores = ProjectPath("reports/scores")  # of the model on the test images, which the gate asks for
    scored_metrics = ProjectPath("reports/scores/metrics.json")  # the figures that the gate asks for
    control = ProjectPath("reports/control")  # the verdict on transfer
    evaluation = ProjectPath("reports/evaluation")
    metrics = ProjectPath("reports/evaluation/metrics.json")  # the figures of the last evaluation
    gate = ProjectPath("reports/gate")
    timing = ProjectPath("reports/timing.json")  # seconds and memory of each stage's last run

    source_models = ProjectPath("models/source")  # a folder per architecture that was pretrained here
    finetuned = ProjectPath("models/finetuned")
    label_curve = ProjectPath("models/label_curve")  # the winner trained on fewer labels
    controls = ProjectPath("models/controls")  # the winner's network from scratch, on all and on fewer labels
    packaged = ProjectPath("models/packaged")  # the model that passed the gate
    promoted = ProjectPath("models/promoted")  # the production model
    promoted_pointer = ProjectPath("models/promoted.dvc")  # DVC's file in git that names its content
    promotions = ProjectPath("models/promotions.json")  # the history of promotions where there is no git

    prediction_log = ProjectPath(".graft/predictions.sqlite")  # of the service, with the labels that people gave
    cache = ProjectPath(".graft/cache")  # decoded images and features; may be deleted at any time
    checkpoints = ProjectPath(".graft/checkpoints")  # what a killed stage resumes from
    lock = ProjectPath(".graft/stage.lock")  # held while a stage runs
    control_lock = ProjectPath(".graft/control.lock")  # held while the control is trained, or what it reads is made
    timing_lock = ProjectPath(".graft/timing.lock")  # held while reports/timing.json is merged

    @classmethod
    def find(cls) -> Workspace:
        """The project around the current folder, as DVC finds it: the nearest folder upwards with a params.yaml.

        Returns:
            Its paths as seen from here, such as ``../models/packaged``; of the current folder where there is none.
        """
        here = Path.cwd()
        root = next((folder for folder in (here, *here.parents) if (folder / "params.yaml").is_file()), here)
        return cls(Path(os.path.relpath(root, here)))

    def require(self) -> Workspace:
        """Return the workspace itself.

        Raises:
            ConfigError: it has no params.yaml.
        """
        if not self.params.is_file():
            raise ConfigError(
                "this folder lies in no project of graft: neither it nor a folder above it has a params.yaml",
                where=Path.cwd(),
                remedy="change to the project's folder, or one inside it",
            )
        return self

    @property
    def production_model(self) -> Path:
        """The model that is served: the promoted one, or before the first promotion the packaged one."""
        return self.promoted if self.promoted.exists() else self.packaged


def user_cache() -> Path:
    """The cache shared by all projects: ``GRAFT_CACHE``, else ``graft`` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("GRAFT_CACHE") or Path(home) / "graft")
