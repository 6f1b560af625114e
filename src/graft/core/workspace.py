"""Where everything lies: the paths of the contract, relative to the folder that holds params.yaml."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from graft.core.errors import ConfigError


@dataclass(frozen=True)
class Workspace:
    """The paths of one project folder; dvc.yaml names the same ones (a test compares them)."""

    root: Path = Path()

    @classmethod
    def find(cls) -> Workspace:
        """The project that the current folder lies in, as DVC finds it: the nearest folder upwards with a params.yaml.

        Returns:
            Its paths as seen from here, such as ``../models/packaged``; of the current folder where there is none.
        """
        here = Path.cwd()
        root = next((folder for folder in (here, *here.parents) if (folder / "params.yaml").is_file()), here)
        return cls(Path(os.path.relpath(root, here)))

    def require(self) -> Workspace:
        """The same, if it is a project.

        Raises:
            ConfigError: there is no params.yaml.
        """
        if not self.params.is_file():
            raise ConfigError(
                "this folder lies in no project of graft: neither it nor a folder above it has a params.yaml",
                where=Path.cwd(),
                remedy="change to the project's folder, or one inside it",
            )
        return self

    @property
    def params(self) -> Path:
        """The only file a user edits."""
        return self.root / "params.yaml"

    @property
    def links(self) -> Path:
        """Links to the user's data and weights, named by keys of params.yaml, so that DVC sees when those change."""
        return self.root / "data" / ".links"

    @property
    def source_link(self) -> Path:
        """A link to what ``data.source`` names."""
        return self.links / "data.source"

    @property
    def pretraining_link(self) -> Path:
        """A link to what ``pretrain.source`` names."""
        return self.links / "pretrain.source"

    @property
    def weights_links(self) -> Path:
        """Links to the user's own weights files."""
        return self.links / "weights"

    @property
    def gathered(self) -> Path:
        """Which images source models are trained on, and which they are scored by."""
        return self.root / "data" / "pretraining"

    @property
    def raw(self) -> Path:
        """The images as taken in, in class folders."""
        return self.root / "data" / "raw"

    @property
    def ingested(self) -> Path:
        """Written by ingest: path, label, split and group of every image, as the source gave them."""
        return self.root / "data" / "ingested.parquet"

    @property
    def manifest(self) -> Path:
        """A row per image with its facts and problems."""
        return self.root / "data" / "manifest.parquet"

    @property
    def splits(self) -> Path:
        """path, label, split (train or test), fold, group."""
        return self.root / "data" / "splits.parquet"

    @property
    def split_history(self) -> Path:
        """Which images were ever tested or trained on; it outlives the runs."""
        return self.root / "data" / "split_history.json"

    @property
    def validation(self) -> Path:
        """validation.json and its page."""
        return self.root / "reports" / "validation"

    @property
    def validated(self) -> Path:
        """The facts of the last data that passed, which the next is compared with."""
        return self.root / "data" / "validated.json"

    @property
    def augmentation(self) -> Path:
        """The preview sheet of the augmentation policy."""
        return self.root / "reports" / "augmentation"

    @property
    def pretraining(self) -> Path:
        """Scores and a sample sheet of the source task."""
        return self.root / "reports" / "pretraining"

    @property
    def selection(self) -> Path:
        """leaderboard.csv and its pictures."""
        return self.root / "reports" / "selection"

    @property
    def tuning(self) -> Path:
        """The trials of the search over hyper-parameters, and the best settings."""
        return self.root / "reports" / "tuning"

    @property
    def live(self) -> Path:
        """Learning curves of the fine-tuning that is going on, or was the last."""
        return self.root / "reports" / "live"

    @property
    def training(self) -> Path:
        """Learning curves of the fine-tuning."""
        return self.root / "reports" / "training"

    @property
    def evaluation(self) -> Path:
        """metrics.json, tables, plots and report.html."""
        return self.root / "reports" / "evaluation"

    @property
    def source_models(self) -> Path:
        """A folder per architecture that was pretrained here."""
        return self.root / "models" / "source"

    @property
    def finetuned(self) -> Path:
        """The fine-tuned winner."""
        return self.root / "models" / "finetuned"

    @property
    def controls(self) -> Path:
        """Models trained only to be compared with: from scratch, and on fewer labels."""
        return self.root / "models" / "controls"

    @property
    def scratch_control(self) -> Path:
        """The control: the winner's network from scratch on all training images."""
        return self.controls / "scratch"

    @property
    def gate(self) -> Path:
        """The gate's verdict on the newest model: gate.json, and as a metric metrics.json."""
        return self.root / "reports" / "gate"

    @property
    def packaged(self) -> Path:
        """The model that passed the gate."""
        return self.root / "models" / "packaged"

    @property
    def promoted(self) -> Path:
        """The packaged model that is in use, until another is promoted or it is rolled back."""
        return self.root / "models" / "promoted"

    @property
    def promoted_pointer(self) -> Path:
        """DVC's file in git that names the content of models/promoted."""
        return self.root / "models" / "promoted.dvc"

    @property
    def promotions(self) -> Path:
        """Which models were promoted, when, by what figures: small text, in git."""
        return self.root / "models" / "promotions.json"

    @property
    def in_use(self) -> Path:
        """The model that is served: the promoted one, or where none ever was the packaged one."""
        return self.promoted if self.promoted.exists() else self.packaged

    @property
    def journal(self) -> Path:
        """What the service said, and what people answered."""
        return self.root / ".graft" / "journal.sqlite"

    @property
    def cache(self) -> Path:
        """Decoded images and features; may be deleted at any time."""
        return self.root / ".graft" / "cache"

    @property
    def checkpoints(self) -> Path:
        """What a killed stage goes on from; gone when the stage is done."""
        return self.root / ".graft" / "checkpoints"

    @property
    def lock(self) -> Path:
        """Held while a stage works, so that two never write the same outputs."""
        return self.root / ".graft" / "stage.lock"


def user_cache() -> Path:
    """Where what serves all workspaces is kept: ``GRAFT_CACHE``, else ``graft`` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("GRAFT_CACHE") or Path(home) / "graft")
