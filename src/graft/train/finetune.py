"""Fine-tuning a network on labelled images: find how long on a hold-out, then train on everything that long."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from graft.config import Train
from graft.determinism import derive_seed
from graft.features.extract import Extractor, frozen_part
from graft.train.inputs import Augmented, Inputs, Kept
from graft.train.loop import Epoch, Holdout, best_epoch, run_stage
from graft.train.plan import Stage
from graft.zoo.network import Network

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from graft.augment.policies import Policy


@dataclass(frozen=True)
class Task:
    """What a network is fine-tuned on.

    Attributes:
        extractor: the images, and what runs frozen parts over them.
        labels: class indices (n).
        rows: which images may be used at all, bool (n).
        held_out: which of these early stopping watches, bool (n); None: none, every stage runs its full length.
        policy: augmentation while blocks are trained; None: none, and kept activations are used.
    """

    extractor: Extractor
    labels: NDArray[np.int64]
    rows: NDArray[np.bool_]
    held_out: NDArray[np.bool_] | None = None
    policy: Policy | None = None


@dataclass(frozen=True)
class Trained:
    """A fine-tuned network, its learning curves, and the epochs that each stage was given."""

    network: Network
    curve: tuple[Epoch, ...]
    epochs: dict[str, int]


def finetune(
    network: Network, stages: Sequence[Stage], task: Task, settings: Train, seed: int, fabric: Fabric
) -> Trained:
    """Train ``network`` stage by stage.

    With a hold-out this is done twice: once without the held-out images, to find after how many epochs each stage
    is best; then again from the start on all images for just as many epochs of the same schedule. So early stopping
    costs no labels. ``network`` itself is left as it is.

    Raises:
        TrainingError: the loss is not finite.
    """
    full = {stage.name: stage.epochs for stage in stages}
    if task.held_out is None:
        trained, curve = _train(network, stages, task, task.rows, None, settings, seed, fabric, full)
        return Trained(trained, tuple(curve), full)
    shown = task.rows & ~task.held_out
    _, watched = _train(network, stages, task, shown, task.held_out, settings, seed, fabric, full)
    epochs = {stage.name: best_epoch([point for point in watched if point.stage == stage.name]) for stage in stages}
    trained, _ = _train(network, stages, task, task.rows, None, settings, seed, fabric, epochs)
    return Trained(trained, tuple(watched), epochs)


def _train(
    network: Network,
    stages: Sequence[Stage],
    task: Task,
    shown: NDArray[np.bool_],
    watched: NDArray[np.bool_] | None,
    settings: Train,
    seed: int,
    fabric: Fabric,
    epochs: dict[str, int],
) -> tuple[Network, list[Epoch]]:
    """A copy of ``network`` through all stages on the images ``shown``, stopping early by those ``watched``."""
    network = copy.deepcopy(network)
    reset_head(network, derive_seed(seed, "head"))
    labels = torch.from_numpy(task.labels)
    curve: list[Epoch] = []
    for stage in stages:
        network.to(fabric.device)
        inputs = _inputs(network, stage, task, shown, derive_seed(seed, stage.name))
        holdout = None
        if watched is not None:
            kept = task.extractor.activations(network, stage.start, watched)
            holdout = Holdout(kept, labels[torch.from_numpy(watched)])
        some = labels[torch.from_numpy(shown)]
        curve += run_stage(network, stage, inputs, some, settings, seed, fabric, holdout, epochs[stage.name])
    return network.cpu(), curve


def _inputs(network: Network, stage: Stage, task: Task, shown: NDArray[np.bool_], seed: int) -> Inputs:
    """Kept activations where nothing before the boundary changes; else augmented images through the frozen part."""
    extractor = task.extractor
    if task.policy is None or not stage.trains_blocks:
        return Kept(extractor.activations(network, stage.start, shown))
    images: Tensor = torch.from_numpy(extractor.images[shown])
    frozen: nn.Module = frozen_part(network, stage.start).eval()
    return Augmented(images, task.policy, extractor.preprocessing, frozen, seed, extractor.device)


def reset_head(network: Network, seed: int) -> None:
    """A fresh linear head, so that the loss starts near ln(classes)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.head.reset_parameters()
