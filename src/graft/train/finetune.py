"""Fine-tuning a network on labelled images: fit the head, then train blocks and head on a schedule of fixed length."""

from __future__ import annotations

import copy
import dataclasses
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from graft.determinism import derive_seed
from graft.features.extract import Extractor, frozen_part
from graft.settings import Train
from graft.train.checkpoints import Checkpoints, Keeper, Snapshot
from graft.train.devices import FULL_PRECISION, fabric_for, precision_of
from graft.train.divergence import DivergedError, diverged, weights_are_finite
from graft.train.head import START_STRENGTH, STRENGTHS, Weighting, solve_head
from graft.train.inputs import Augmented, Inputs, Kept, cached_views
from graft.train.loop import Lesson, run_stage
from graft.train.plan import Plan, Stage
from graft.train.precision import Mode
from graft.train.trained import Trained, finished, head_of, task_key, to_finish, under_way
from graft.train.underway import Epoch, Underway
from graft.zoo.network import Network

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from graft.augment.policies import Policy
    from graft.train.loop import Report

    # Which images are meant, bool (n).
    Rows = NDArray[np.bool_]


__all__ = ["Task", "Trained", "finetune"]

HEAD = "head"


@dataclass(frozen=True)
class Task:
    """What a network is fine-tuned on.

    Attributes:
        extractor: the images, and what runs frozen parts over them.
        labels: class indices (n).
        rows: which images are trained on, bool (n).
        policy: augmentation while blocks are trained; None: none, and kept activations are used.
        names: files of the images (n), for messages; may be empty.
        larger: what is augmented, uint8 (n, s, s, 3): the same images, larger where the policy crops; None: those of
            the extractor.
    """

    extractor: Extractor
    labels: NDArray[np.int64]
    rows: Rows
    policy: Policy | None = None
    names: tuple[str, ...] = ()
    larger: NDArray[np.uint8] | None = None


def finetune(
    network: Network,
    plan: Plan,
    task: Task,
    settings: Train,
    seed: int,
    fabric: Fabric,
    keeper: Keeper | None = None,
    mode: Mode | None = None,
    report: Report | None = None,
) -> Trained:
    """Train a copy of ``network`` by ``plan``; ``network`` itself is left as it is.

    With a ``keeper`` a training that was killed goes on from its last checkpoint, and gives the bytes that it would
    have given; one that had come to its end is read and not done again. A training that comes to a number that is not
    finite in less than full precision is done again, once, in full precision, from its beginning: where in it the
    last checkpoint lies depends on the clock, and the result must not.

    Raises:
        DivergedError: the loss or the weights are not finite.
    """
    try:
        return _Run(network, plan, task, settings, seed, fabric, mode, report).go(keeper)
    except DivergedError as error:
        if precision_of(fabric) == FULL_PRECISION:
            raise
        print(f"warning: {error.what}\n  in {precision_of(fabric)}: once more in {FULL_PRECISION}", file=sys.stderr)
        exact = fabric_for(str(fabric.device))
        plain = None if mode is None else dataclasses.replace(mode, precision=FULL_PRECISION)
        return _Run(network, plan, task, settings, seed, exact, plain, report).go(keeper)


@dataclass(frozen=True)
class _Run:
    """One training, and what it needs."""

    network: Network
    plan: Plan
    task: Task
    settings: Train
    seed: int
    fabric: Fabric
    mode: Mode | None
    report: Report | None

    def go(self, keeper: Keeper | None) -> Trained:
        """Train, or what is left of it."""
        if keeper is None:
            return self._train(None, None)
        checkpoints = keeper.open(*self._key())
        done = checkpoints.finished()
        if done is not None:
            return finished(done, self.network)
        trained = self._train(checkpoints, checkpoints.latest())
        checkpoints.finish(to_finish(trained))
        return trained

    def _key(self) -> tuple[str, ...]:
        computing = (str(self.fabric.device), precision_of(self.fabric), str(self.mode), str(self.fabric.world_size))
        return task_key(self.network, self.plan, self.task, self.settings, self.seed, computing)

    def _train(self, checkpoints: Checkpoints | None, saved: Snapshot | None) -> Trained:
        network = copy.deepcopy(self.network).to(self.fabric.device)
        reset_head(network, derive_seed(self.seed, "head"))
        before: tuple[Epoch, ...] = ()
        if saved is not None:
            network.load_state_dict(saved.part("network"))
            before = head_of(saved)
        elif self.plan.head_first:
            before = (self._fit_head(network),)
        stage = self.plan.stage
        points: tuple[Epoch, ...] = ()
        if stage is not None:

            def keep(run: Underway) -> None:
                if checkpoints is not None:
                    checkpoints.offer(lambda: self._snapshot(run, stage, before))

            lesson = self._lesson(network, stage)
            points = run_stage(
                network, stage, lesson, self.settings, self.seed, self.fabric, keep, saved, self.mode, self.report
            )
        return Trained(network.cpu().eval(), (*before, *points), self.plan.epochs, precision_of(self.fabric))

    def _lesson(self, network: Network, stage: Stage) -> Lesson:
        task = self.task
        inputs = _inputs(network, stage, task, derive_seed(self.seed, stage.name))
        names = [task.names[i] for i in np.flatnonzero(task.rows)] if task.names else []
        return Lesson(inputs, torch.from_numpy(task.labels[task.rows]), names)

    def _snapshot(self, run: Underway, stage: Stage, before: tuple[Epoch, ...]) -> Snapshot:
        """The stage under way, and the head's fit before it. What is not finite is never kept."""
        if not weights_are_finite(run.network):
            place = f"stage {stage.name!r}, epoch {run.epoch}, after step {run.step - 1}"
            raise diverged("weights are not finite", place, run.rate, ())
        return under_way(run.snapshot(), before)

    def _fit_head(self, network: Network) -> Epoch:
        task = self.task
        features = task.extractor.activations(network, len(network.blocks), task.rows)
        # A head that is solved has no batches: classes are evened out by their weight, whichever way was asked for.
        weighting: Weighting | None = None if self.settings.imbalance == "none" else "balanced"
        # Where blocks are trained after it, the head only has to point the right way.
        strengths = STRENGTHS if self.plan.stage is None else (START_STRENGTH / features.shape[1],)
        return Epoch(HEAD, 0, solve_head(network.head, features, task.labels[task.rows], weighting, strengths))


def _inputs(network: Network, stage: Stage, task: Task, seed: int) -> Inputs:
    """Kept activations where nothing before the boundary changes; else augmented images through the frozen part.

    Of these some views are kept where that is possible.
    """
    extractor = task.extractor
    if task.policy is None or not task.policy.changes_anything:
        return Kept(extractor.activations(network, stage.start, task.rows))
    images = extractor.images if task.larger is None else task.larger
    frozen: nn.Module = frozen_part(network, stage.start).eval()
    classes = network.head.out_features
    rows = np.flatnonzero(task.rows)
    augmented = Augmented(images, rows, task.policy, extractor.preprocessing, frozen, seed, extractor.device, classes)
    return cached_views(augmented, stage.epochs) or augmented


def reset_head(network: Network, seed: int) -> None:
    """A fresh linear head, so that the loss starts near ln(classes)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.head.reset_parameters()
