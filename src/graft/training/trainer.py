"""The training loop on Lightning Fabric, shared by fine-tuning, training from scratch and pretraining."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from graft.core.deadline import Deadline, require_time
from graft.core.determinism import torch_generator
from graft.core.progress import track
from graft.models.batch import map_tensors
from graft.training.checkpoint import Checkpoint
from graft.training.compute.distributed import local_indices, loss_weight, mean_loss
from graft.training.compute.precision import Mode, thread_count, to_memory_format
from graft.training.divergence import diverged, weights_are_finite
from graft.training.ema import ema_model
from graft.training.inputs import BatchInputs
from graft.training.objectives.base import Batch, Objective

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch.optim.lr_scheduler import LRScheduler
    from torch.optim.swa_utils import AveragedModel

# For each epoch the indices of each step's images.
Order = Sequence[Sequence[Tensor]]


@dataclass(frozen=True)
class EpochLoss:
    """One point of a learning curve; the mean loss of the epoch's steps in nats."""

    stage: str
    epoch: int
    train_loss: float


@dataclass(frozen=True)
class StageData:
    """What a network is trained on.

    Attributes:
        inputs: what the first trained block receives.
        labels: class indices (n).
        names: files of the images (n), for messages; may be empty.
        weights: each image's weight in the mean loss (n); None: all count alike. Several processes need it.
    """

    inputs: BatchInputs
    labels: Tensor
    names: Sequence[str] = ()
    weights: Tensor | None = None


@dataclass(frozen=True)
class Trainer:
    """Fits modules by an objective; the same seed gives the same bytes, also after a kill and from a checkpoint.

    Attributes:
        fabric: device, precision and processes.
        objective: the loss.
        mode: memory format and threads; its precision is ``fabric``'s. None: as torch is set.
        grad_clip_norm: largest norm of all gradients together; None: any.
        ema_decay: of the average of the weights that the module ends with; 0: the last weights.
        checkpoint: kept at the ends of epochs, and gone on from.
        on_epoch: told of every epoch that is trained here.
        deadline: when the time is up; None: never.
    """

    fabric: Fabric
    objective: Objective
    mode: Mode | None = None
    grad_clip_norm: float | None = None
    ema_decay: float = 0.0
    checkpoint: Checkpoint | None = None
    on_epoch: Callable[[EpochLoss], None] | None = None
    deadline: Deadline | None = None

    def fit(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: LRScheduler,
        data: StageData,
        order: Order,
        seed: int,
        stage: str,
    ) -> tuple[EpochLoss, ...]:
        """Train ``module`` in place.

        Args:
            module: what runs; its training mode and what is frozen in it are the caller's.
            optimizer: over its parameters and those of the objective's modules.
            scheduler: of the optimizer; stepped after every step.
            data: images and labels.
            order: the indices of each step's images, epoch by epoch.
            seed: for dropout.
            stage: for curves and messages.

        Returns:
            The learning curve, a point per epoch.

        Raises:
            DivergedError: the loss or the weights are not finite; the message names stage, epoch, step, rate and batch.
            OutOfTimeError: the deadline passed.
        """
        average = ema_model(module, self.ema_decay) if self.ema_decay else None
        extra = nn.ModuleDict(dict(self.objective.modules)).to(self.fabric.device)
        model, wrapped = self.fabric.setup(module, optimizer)
        run = _Run(stage, module, model, wrapped, scheduler, extra, average)
        with torch.random.fork_rng(devices=[]), thread_count(self.mode):
            torch.manual_seed(seed)
            curve = self._resume(run)
            done, losses = len(curve), list[float]()
            for batch in self._batches(data, order[done:], done, stage):
                require_time(self.deadline, f"training: {stage}")
                losses.append(self._step(run, batch, len(curve) * len(order[0]) + batch.step, data.names))
                if batch.is_last:
                    curve.append(EpochLoss(stage, batch.epoch, sum(losses) / len(losses)))
                    losses = []
                    self._end_epoch(run, curve, is_last=len(curve) == len(order))
        if average is not None:
            module.load_state_dict(average.module.state_dict())
        return tuple(curve)

    def _batches(self, data: StageData, order: Order, first: int, stage: str) -> Iterator[Batch]:
        """Every step's batch on the device, in the mode's memory format; this process's share of it."""
        steps = [(batch, epoch) for epoch, random_batches in enumerate(order, start=first) for batch in random_batches]
        shares = [(local_indices(batch, self.fabric), epoch) for batch, epoch in steps]
        made = zip(steps, data.inputs.batches(shares, data.labels), shares, strict=True)
        counters = [
            (step, step + 1 == len(random_batches)) for random_batches in order for step in range(len(random_batches))
        ]
        shown = track(made, f"training: {stage}", total=len(steps), unit="steps")
        for ((whole, epoch), (inputs, targets), (share, _)), (step, is_last) in zip(shown, counters, strict=True):
            weight = loss_weight(share, whole, data.weights, self.fabric)
            on_device = map_tensors(partial(to_memory_format, mode=self.mode), self.fabric.to_device(inputs))
            yield Batch(on_device, targets.to(self.fabric.device), share, epoch, step, is_last, weight)

    def _step(self, run: _Run, batch: Batch, step: int, names: Sequence[str]) -> float:
        """One optimizer step; the mean loss over all processes, so that they stop together where it is not finite."""
        loss = self.objective.loss(run.model, batch, step) * batch.weight
        seen = mean_loss(loss, self.fabric)
        if not math.isfinite(seen):
            place = f"stage {run.stage!r}, epoch {batch.epoch}, step {batch.step}"
            images = [names[i] if names else f"image {i}" for i in batch.indices.tolist()]
            raise diverged(f"the loss is {seen}", place, run.rate, images)
        self._descend(run, loss)
        return seen

    def _descend(self, run: _Run, loss: Tensor) -> None:
        run.optimizer.zero_grad()
        self.fabric.backward(loss)
        if self.grad_clip_norm is not None:
            # A norm that is not finite shows in the weights, which are looked at before they are kept anywhere.
            self.fabric.clip_gradients(run.model, run.optimizer, max_norm=self.grad_clip_norm, error_if_nonfinite=False)
        run.optimizer.step()
        run.scheduler.step()
        if run.average is not None:
            run.average.update_parameters(run.module)

    def _end_epoch(self, run: _Run, curve: list[EpochLoss], is_last: bool) -> None:
        if not weights_are_finite(run.module):
            place = f"stage {run.stage!r}, epoch {curve[-1].epoch}, after its last step"
            raise diverged("weights are not finite", place, run.rate, ())
        if self.checkpoint is not None:
            self.checkpoint.save(self.fabric, run.state(curve), is_last)
        if self.on_epoch is not None:
            self.on_epoch(curve[-1])

    def _resume(self, run: _Run) -> list[EpochLoss]:
        """The curve so far; empty where the training begins."""
        state = run.state([])
        if self.checkpoint is not None:
            self.checkpoint.load(self.fabric, state)
        return [EpochLoss(**point) for point in state["curve"]]


@dataclass(frozen=True)
class _Run:
    """What is trained: the module itself, and model and optimizer as Fabric runs them."""

    stage: str
    module: nn.Module
    model: Any
    optimizer: Any
    scheduler: LRScheduler
    extra: nn.ModuleDict
    average: AveragedModel | None

    @property
    def rate(self) -> float:
        """The first group's learning rate in this step: the head's."""
        return float(self.optimizer.param_groups[0]["lr"])

    def state(self, curve: Sequence[EpochLoss]) -> dict[str, Any]:
        """What a checkpoint holds beside the random state."""
        whole = {
            "model": self.model,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "extra": self.extra,
            "average": self.average,
        }
        return {**{name: part for name, part in whole.items() if part is not None}, "curve": [*map(asdict, curve)]}


def epoch_order(
    count: int, size: int, epochs: int, seed: int, *names: object, chances: Tensor | None = None
) -> list[list[Tensor]]:
    """The order of ``count`` images in each of ``epochs`` epochs, see :func:`random_batches`."""
    return [list(random_batches(count, size, seed, *names, epoch, chances=chances)) for epoch in range(epochs)]


def random_batches(count: int, size: int, seed: int, *names: object, chances: Tensor | None = None) -> Iterator[Tensor]:
    """Indices of ``count`` images in random order, in batches of nearly equal size.

    Nearly equal, because a last batch of a single image would leave batch normalisation without a variance. With
    ``chances`` (count) the images are drawn by these instead, as many of them, some more than once.
    """
    generator = torch_generator(seed, "order", *names)
    if chances is None:
        order = torch.randperm(count, generator=generator)
    else:
        order = torch.multinomial(chances, count, replacement=True, generator=generator)
    yield from torch.tensor_split(order, math.ceil(count / size))
