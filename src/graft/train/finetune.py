"""Fine-tuning a network on labelled images: find how long on a hold-out, then train on everything that long."""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from graft.determinism import derive_seed
from graft.features.extract import Extractor, frozen_part
from graft.settings import Train
from graft.train.checkpoints import Checkpoints, Keeper, Snapshot
from graft.train.divergence import DivergedError, diverged, weights_are_finite
from graft.train.head import Weighting, solve_head
from graft.train.inputs import Augmented, Inputs, Kept
from graft.train.loop import (
    FULL_PRECISION,
    Holdout,
    Lesson,
    fabric_for,
    holdout_figures,
    logits_of,
    precision_of,
    run_stage,
)
from graft.train.plan import Plan, Stage
from graft.train.trained import (
    MOST_SHOWN,
    First,
    Pass,
    Trained,
    Watched,
    finished,
    of_pass,
    some_of,
    task_key,
    to_finish,
)
from graft.train.underway import Epoch, Underway
from graft.zoo.network import Network

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from graft.augment.policies import Policy

    # Which images are meant, bool (n).
    Rows = NDArray[np.bool_]


__all__ = ["Task", "Trained", "Watched", "finetune"]

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
        names: files of the images (n), for messages; may be empty.
    """

    extractor: Extractor
    labels: NDArray[np.int64]
    rows: Rows
    held_out: Rows | None = None
    policy: Policy | None = None
    names: tuple[str, ...] = ()


def finetune(
    network: Network,
    plan: Plan,
    task: Task,
    settings: Train,
    seed: int,
    fabric: Fabric,
    keeper: Keeper | None = None,
) -> Trained:
    """Train ``network`` by ``plan``.

    With a hold-out this is done twice: once without the held-out images, to find after how many epochs each stage
    is best; then again from the start on all images for just as many epochs of the same schedule. So early stopping
    costs no labels. ``network`` itself is left as it is.

    With a ``keeper`` a training that was killed goes on from its last checkpoint, and gives the bytes that it would
    have given; one that had come to its end is read and not done again. A training that comes to a number that is not
    finite in less than full precision is done again, once, in full precision, from its beginning: where in it the
    last checkpoint lies depends on the clock, and the result must not.

    Raises:
        DivergedError: the loss or the weights are not finite.
    """
    try:
        return _Run(network, plan, task, settings, seed, fabric).go(keeper)
    except DivergedError as error:
        if precision_of(fabric) == FULL_PRECISION:
            raise
        print(f"warning: {error.what}\n  in {precision_of(fabric)}: once more in {FULL_PRECISION}", file=sys.stderr)
        exact = fabric_for(str(fabric.device))
        return _Run(network, plan, task, settings, seed, exact).go(keeper)


@dataclass(frozen=True)
class _Run:
    """What the two passes have in common."""

    network: Network
    plan: Plan
    task: Task
    settings: Train
    seed: int
    fabric: Fabric

    def go(self, keeper: Keeper | None) -> Trained:
        """Both passes, or what is left of them."""
        if keeper is None:
            return self._passes(None, None)
        checkpoints = keeper.open(*self._key())
        done = checkpoints.finished()
        if done is not None:
            return finished(done, self.network)
        trained = self._passes(checkpoints, checkpoints.latest())
        checkpoints.finish(to_finish(trained))
        return trained

    def _key(self) -> tuple[str, ...]:
        computing = (str(self.fabric.device), precision_of(self.fabric))
        return task_key(self.network, self.plan, self.task, self.settings, self.seed, computing)

    def _passes(self, checkpoints: Checkpoints | None, saved: Snapshot | None) -> Trained:
        task = self.task
        full = {stage.name: stage.epochs for stage in self.plan.stages}
        precision = precision_of(self.fabric)
        if task.held_out is None:
            network, only = self._pass(task.rows, None, full, checkpoints, saved, None)
            return Trained(network, tuple(only.points), full, precision=precision)
        first = None if saved is None else First.of(saved)
        if first is None:
            shown = task.rows & ~task.held_out
            network, watching = self._pass(shown, task.held_out, full, checkpoints, saved, None)
            first = First(tuple(watching.points), watching.best, self._watched(network, task.held_out))
            saved = None
        network, _ = self._pass(task.rows, None, first.epochs, checkpoints, saved, first)
        return Trained(network, first.curve, first.epochs, first.watched, precision)

    def _pass(
        self,
        shown: Rows,
        watched: Rows | None,
        epochs: dict[str, int],
        checkpoints: Checkpoints | None,
        saved: Snapshot | None,
        first: First | None,
    ) -> tuple[Network, Pass]:
        """The network trained on ``shown``, its curve, and how many epochs were best for those ``watched``."""
        network = copy.deepcopy(self.network).to(self.fabric.device)
        reset_head(network, derive_seed(self.seed, "head"))
        behind = Pass()
        if saved is not None:
            network.load_state_dict(saved.part("network"))
            behind = Pass.of(saved)
        elif self.plan.head_first:
            behind.points.append(self._head(network, shown, watched))
        for stage in self.plan.stages[len(behind.best) :]:

            def keep(run: Underway, stage: Stage = stage) -> None:
                if checkpoints is not None:
                    checkpoints.offer(lambda: self._snapshot(run, stage, behind, first))

            lesson = self._lesson(network, stage, shown, watched)
            course = run_stage(
                network, stage, lesson, self.settings, self.seed, self.fabric, epochs[stage.name], keep, saved
            )
            saved = None
            behind.best[stage.name] = course.best
            behind.points += course.points
        return network.cpu().eval(), behind

    def _lesson(self, network: Network, stage: Stage, shown: Rows, watched: Rows | None) -> Lesson:
        inputs = _inputs(network, stage, self.task, shown, derive_seed(self.seed, stage.name))
        names = [self.task.names[i] for i in np.flatnonzero(shown)] if self.task.names else []
        labels = torch.from_numpy(self.task.labels)[torch.from_numpy(shown)]
        return Lesson(inputs, labels, self._holdout(network, stage.start, watched), names)

    def _snapshot(self, run: Underway, stage: Stage, behind: Pass, first: First | None) -> Snapshot:
        """The stage under way, and what lies behind it. What is not finite is never kept."""
        if not weights_are_finite(run.network):
            place = f"stage {stage.name!r}, epoch {run.epoch}, after step {run.step - 1}"
            raise diverged("weights are not finite", place, run.rate, ())
        return of_pass(run.snapshot(), behind, first)

    def _head(self, network: Network, shown: Rows, watched: Rows | None) -> Epoch:
        past = len(network.blocks)
        features = self.task.extractor.activations(network, past, shown)
        # A head that is solved has no batches: classes are evened out by their weight, whichever way was asked for.
        weighting: Weighting | None = None if self.settings.imbalance == "none" else "balanced"
        loss = solve_head(network.head, features, self.task.labels[shown], weighting)
        holdout = self._holdout(network, past, watched)
        return Epoch(HEAD, 0, loss, *(holdout_figures(network.ending(past), holdout) if holdout else ()))

    def _holdout(self, network: Network, start: int, watched: Rows | None) -> Holdout | None:
        if watched is None:
            return None
        kept = self.task.extractor.activations(network, start, watched)
        return Holdout(kept, torch.from_numpy(self.task.labels[watched]))

    def _watched(self, network: Network, held_out: Rows) -> Watched:
        """What the network of the first pass, with its best epoch's weights, says of the held-out images."""
        start = self.plan.stages[-1].start if self.plan.stages else len(network.blocks)
        extractor = self.task.extractor
        logits = logits_of(network.ending(start), extractor.activations(network, start, held_out))

        def features(rows: Rows) -> NDArray[np.float32]:
            received = extractor.activations(network, start, rows)
            # Past the last block nothing is left to run: what is received is what the head receives.
            out = received if start >= len(network.blocks) else logits_of(network.tail(start), received)
            return out.float().numpy()

        shown = some_of(self.task.rows & ~held_out, MOST_SHOWN)
        return Watched(np.flatnonzero(held_out), logits.float().numpy(), features(held_out), features(shown))


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
