"""Source models: trained once for the same network, data, settings and code, and kept by that content.

A source model is an artifact like any other (classes, preprocessing, safetensors and their hash), whose provenance has
its scores and the hash of its data. Beside it lie features of some source images, by which the target is compared.
"""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from graft.augmentation.policy_config import build_policy, parse_policies
from graft.core.code_version import code_of
from graft.core.determinism import derive_seed
from graft.core.errors import WeightsError
from graft.core.files import atomic_dir, atomic_file, sha256
from graft.core.settings import Augment, Candidate, Pretrain
from graft.features.keys import key_of
from graft.inference.artifact import WEIGHTS_FILE, Artifact, read_artifact, save_artifact
from graft.metrics.classification import METRICS
from graft.modalities.image.preprocessing import ImagePreprocessor
from graft.models.backbone import Network
from graft.models.zoo.registry import build_network, builder_for
from graft.pretraining.pretrain import LabelledImages, pretrain, probabilities
from graft.pretraining.source_tasks import SourceTask
from graft.stats.bootstrap import Resampling
from graft.training.compute.devices import device_for, fabric_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEATURES_FILE = "features.safetensors"
# Held-out images whose features are kept; enough to tell two sets of images apart, and a few megabytes.
FEATURE_IMAGES = 300
# The settings of how a source model is trained.
_SETTINGS = ("policy", "epochs", "batch_size", "learning_rate", "weight_decay")
# The packages whose code a source model follows from; dvc.yaml names them as dependencies of the stage.
_PACKAGES = ("augmentation", "models", "pretraining", "training")


@dataclass(frozen=True)
class SourceModelStore:
    """Trains source models, and keeps each under a hash of everything that decides its bytes.

    Attributes:
        task: what they are trained on.
        settings: how they are trained.
        seed: the project's.
        device: by its name in params.yaml.
        kept: the folder that they are kept in.
    """

    task: SourceTask
    settings: Pretrain
    seed: int
    device: str
    kept: Path

    def provide(self, candidate: Candidate, folder: Path) -> Artifact:
        """Put the candidate's source model into ``folder``: the kept one if there is one, else a new one."""
        kept = self.kept / self.key(candidate)
        if _is_whole(kept):
            print(f"pretrain: {folder.name} is kept from an earlier run: same data, settings and code")
        else:
            print(f"pretrain: training {candidate.arch} on {self.task.name}", flush=True)
            self._train(candidate, kept)
        shutil.copytree(kept, folder)
        return read_artifact(folder)

    def key(self, candidate: Candidate) -> str:
        """Changes with whatever could change the model's bytes; other candidates are no part of it."""
        preprocessing = _preprocessing(candidate)
        # Not where the images lie nor how they are divided: the hash of the data says what matters of that.
        settings = {name: dataclasses.asdict(self.settings)[name] for name in _SETTINGS}
        device = device_for(self.device).type
        made_with = (self.seed, torch.__version__, torch.get_num_threads(), device, pretraining_code_version())
        network = (candidate.arch, candidate.size, dataclasses.asdict(preprocessing))
        return key_of("source model", self.task.digest, settings, network, made_with)

    def _train(self, candidate: Candidate, folder: Path) -> None:
        seed = derive_seed(self.seed, "pretrain", candidate.arch, candidate.size)
        preprocessing = _preprocessing(candidate)
        size = preprocessing.geometry.size
        policy = build_policy(parse_policies(Augment(policy=self.settings.policy)), size)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = build_network(candidate.arch, len(self.task.classes), size=size)
        train, held_out = self.task.train(preprocessing), self.task.held_out(preprocessing)
        fabric = fabric_for(self.device)
        losses = pretrain(network, preprocessing, train, self.settings, seed, fabric, policy)
        score: dict[str, Any] = {
            **score_source_model(network, preprocessing, held_out, seed),
            "classes": len(self.task.classes),
            "train_images": len(train.labels),
            "losses": losses,
        }
        told = {**score, "source": self.task.name, "data_sha256": self.task.digest, "seed": self.seed}
        artifact = Artifact(self.task.classes, candidate.arch, "none", None, preprocessing, provenance=told)
        # Whole or not at all: what is kept is not trained again.
        with atomic_dir(folder) as beside:
            save_artifact(beside, artifact, network)
            _save_features(beside / FEATURES_FILE, network, preprocessing, held_out, seed)


def score_source_model(
    network: Network, preprocessing: ImagePreprocessor, held_out: LabelledImages, seed: int
) -> dict[str, Any]:
    """Accuracy on held-out images, its 95% interval (bootstrap over images, copies together), and their number."""
    said, labels = probabilities(network, preprocessing, held_out), held_out.labels.numpy()
    units = np.arange(len(labels)) if held_out.units is None else held_out.units
    interval = METRICS.intervals(labels, said, Resampling(units, 1000, seed))["accuracy"]
    return {
        "accuracy": float((said.argmax(axis=1) == labels).mean()),
        "accuracy_ci95": None if interval is None else interval.pair(),
        "held_out_images": len(labels),
    }


def _preprocessing(candidate: Candidate) -> ImagePreprocessor:
    preprocessing = builder_for(candidate.arch).preprocessing(candidate.arch, candidate.size)
    assert isinstance(preprocessing, ImagePreprocessor), "source tasks are of images"
    return preprocessing


def _save_features(
    path: Path, network: Network, preprocessing: ImagePreprocessor, held_out: LabelledImages, seed: int
) -> None:
    """The pooled output of every block for some held-out images, drawn evenly, by the block's index."""
    from safetensors.numpy import save_file

    chosen = np.random.default_rng(derive_seed(seed, "features") % 2**32).permutation(len(held_out.labels))
    images = held_out.images[torch.from_numpy(np.sort(chosen[:FEATURE_IMAGES]))]
    rows: list[list[NDArray[np.float32]]] = []
    with torch.no_grad():
        for part in torch.split(images, 64):
            rows.append([block.numpy() for block in network.eval().pooled(preprocessing.normalise(part))])
    features = {str(depth): np.concatenate(parts) for depth, parts in enumerate(zip(*rows, strict=True))}
    with atomic_file(path) as beside:
        save_file(features, beside)


def source_features(folder: Path, depth: int) -> NDArray[np.float32] | None:
    """Features (n, channels) of source images at a block, or None where the model came without."""
    from safetensors.numpy import load_file

    path = folder / FEATURES_FILE
    return load_file(path).get(str(depth)) if path.exists() else None


def _is_whole(folder: Path) -> bool:
    """Whether the weights are those that model.json was written for; nothing is trusted that was cut short."""
    try:
        return sha256(folder / WEIGHTS_FILE) == read_artifact(folder).sha256
    except (WeightsError, OSError):
        return False


@cache
def pretraining_code_version() -> str:
    """A hash of the code that a source model follows from."""
    return key_of(*code_of(f"{name}/**/*.py" for name in _PACKAGES))
