"""Fine-tuning a network on labelled images: find how long on a hold-out, then train on everything that long."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from graft.determinism import derive_seed
from graft.features.extract import Extractor, frozen_part
from graft.settings import Train
from graft.train.head import solve_head
from graft.train.inputs import Augmented, Inputs, Kept
from graft.train.loop import Epoch, Holdout, holdout_figures, logits_of, run_stage
from graft.train.plan import Plan, Stage
from graft.zoo.network import Network

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from graft.augment.policies import Policy

    # Which images are meant, bool (n).
    Rows = NDArray[np.bool_]


HEAD = "head"


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
    rows: Rows
    held_out: Rows | None = None
    policy: Policy | None = None


@dataclass(frozen=True)
class Watched:
    """What a network said of held-out images that it had not seen, at its best epoch; for fitting a temperature.

    Attributes:
        rows: indices of the held-out images among all of the task's, int64 (m).
        logits: float32 (m, classes), by the network of the first pass, whose training left these images out.
        network: that network, for what else is to be asked of it.
    """

    rows: NDArray[np.int64]
    logits: NDArray[np.float32]
    network: Network


@dataclass(frozen=True)
class Trained:
    """A fine-tuned network, its learning curves, and the epochs that each stage was given.

    ``watched`` is None where nothing was held out.
    """

    network: Network
    curve: tuple[Epoch, ...]
    epochs: dict[str, int]
    watched: Watched | None = None


def finetune(network: Network, plan: Plan, task: Task, settings: Train, seed: int, fabric: Fabric) -> Trained:
    """Train ``network`` by ``plan``.

    With a hold-out this is done twice: once without the held-out images, to find after how many epochs each stage
    is best; then again from the start on all images for just as many epochs of the same schedule. So early stopping
    costs no labels. ``network`` itself is left as it is.

    Raises:
        TrainingError: the loss is not finite.
    """
    run = _Run(network, plan, task, settings, seed, fabric)
    full = {stage.name: stage.epochs for stage in plan.stages}
    if task.held_out is None:
        trained, curve, _ = run.train(task.rows, None, full)
        return Trained(trained, tuple(curve), full)
    first, curve, epochs = run.train(task.rows & ~task.held_out, task.held_out, full)
    watched = _watched(first, plan, task, task.held_out)
    trained, _, _ = run.train(task.rows, None, epochs)
    return Trained(trained, tuple(curve), epochs, watched)


def _watched(network: Network, plan: Plan, task: Task, held_out: Rows) -> Watched:
    """What the network of the first pass, with its best epoch's weights, says of the held-out images."""
    start = plan.stages[-1].start if plan.stages else len(network.blocks)
    logits = logits_of(network.ending(start), task.extractor.activations(network, start, held_out))
    return Watched(np.flatnonzero(held_out), logits.float().numpy(), network)


@dataclass(frozen=True)
class _Run:
    """What the two passes have in common."""

    network: Network
    plan: Plan
    task: Task
    settings: Train
    seed: int
    fabric: Fabric

    def train(
        self, shown: Rows, watched: Rows | None, epochs: dict[str, int]
    ) -> tuple[Network, list[Epoch], dict[str, int]]:
        """The network trained on ``shown``, its curve, and how many epochs were best for those ``watched``."""
        network = copy.deepcopy(self.network).to(self.fabric.device)
        reset_head(network, derive_seed(self.seed, "head"))
        labels = torch.from_numpy(self.task.labels)
        curve, best = [], {}
        if self.plan.head_first:
            curve.append(self._head(network, shown, watched))
        for stage in self.plan.stages:
            holdout = self._holdout(network, stage.start, watched)
            inputs = _inputs(network, stage, self.task, shown, derive_seed(self.seed, stage.name))
            some = labels[torch.from_numpy(shown)]
            course = run_stage(
                network, stage, inputs, some, self.settings, self.seed, self.fabric, holdout, epochs[stage.name]
            )
            best[stage.name] = course.best
            curve += course.points
        return network.cpu().eval(), curve, best

    def _head(self, network: Network, shown: Rows, watched: Rows | None) -> Epoch:
        past = len(network.blocks)
        features = self.task.extractor.activations(network, past, shown)
        loss = solve_head(network.head, features, self.task.labels[shown])
        holdout = self._holdout(network, past, watched)
        return Epoch(HEAD, 0, loss, *(holdout_figures(network.ending(past), holdout) if holdout else ()))

    def _holdout(self, network: Network, start: int, watched: Rows | None) -> Holdout | None:
        if watched is None:
            return None
        kept = self.task.extractor.activations(network, start, watched)
        return Holdout(kept, torch.from_numpy(self.task.labels[watched]))


def _inputs(network: Network, stage: Stage, task: Task, shown: Rows, seed: int) -> Inputs:
    """Kept activations where nothing before the boundary changes; else augmented images through the frozen part."""
    extractor = task.extractor
    if task.policy is None or not task.policy.changes_anything:
        return Kept(extractor.activations(network, stage.start, shown))
    images: Tensor = torch.from_numpy(extractor.images[shown])
    frozen: nn.Module = frozen_part(network, stage.start).eval()
    classes = network.head.out_features
    return Augmented(images, task.policy, extractor.preprocessing, frozen, seed, extractor.device, classes)


def reset_head(network: Network, seed: int) -> None:
    """A fresh linear head, so that the loss starts near ln(classes)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.head.reset_parameters()
