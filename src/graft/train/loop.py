"""The training loop: one stage, on Lightning Fabric, with warm-up, cosine decay and early stopping."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graft.determinism import torch_generator
from graft.errors import TrainingError
from graft.settings import Train
from graft.train.inputs import Inputs
from graft.train.plan import Stage, freeze, parameter_groups
from graft.zoo.network import Network

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@dataclass(frozen=True)
class Epoch:
    """One point of the learning curves. Losses in nats; hold-out figures are None where nothing is held out."""

    stage: str
    epoch: int
    train_loss: float
    holdout_loss: float | None = None
    holdout_accuracy: float | None = None


@dataclass(frozen=True)
class Holdout:
    """Images that are watched and never trained on: inputs of the first trained block, and labels (n)."""

    inputs: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Course:
    """How a stage went: a point per epoch, and after how many of them the weights that were kept were reached.

    With a hold-out, ``points`` has those after the best epoch too, and ``best`` is 0 where no epoch was better than
    none at all.
    """

    points: tuple[Epoch, ...]
    best: int


@dataclass
class Best:
    """The epoch with the lowest hold-out loss so far, and the trained parts as they were then."""

    epoch: int = -1
    loss: float = math.inf
    state: dict[str, Any] = field(default_factory=dict)


def fabric_for(device: str) -> Fabric:
    """Fabric on one device: ``auto`` takes a GPU if there is one."""
    from lightning_fabric import Fabric

    accelerator, _, index = device.partition(":")
    return Fabric(accelerator=accelerator, devices=[int(index)] if index else 1, precision="32-true")


def run_stage(
    network: Network,
    stage: Stage,
    inputs: Inputs,
    labels: Tensor,
    settings: Train,
    seed: int,
    fabric: Fabric,
    holdout: Holdout | None,
    stop_after: int,
) -> Course:
    """Train ``network`` in place for one stage.

    Args:
        network: its units before ``stage.start`` are frozen and are not run.
        stage: what is trained, how long, at which rates.
        inputs: what unit ``stage.start`` receives.
        labels: class indices (n).
        settings: batch size, decay, smoothing, patience.
        seed: for the order of the images and for dropout.
        fabric: device.
        holdout: where given, training stops when its loss has not fallen for ``settings.patience`` epochs, and the
            best epoch's weights are put back; those from before the stage, if no epoch was better.
        stop_after: most epochs to go of the stage's schedule.

    Raises:
        TrainingError: the loss is not finite; the message names stage, epoch and step.
    """
    freeze(network, stage)
    tail = network.ending(stage.start)
    optimizer = torch.optim.AdamW(parameter_groups(network, stage, settings.weight_decay), fused=True)
    steps = math.ceil(len(labels) / settings.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_at(step, steps, stage.epochs * steps))
    model, opt = fabric.setup(tail, optimizer)
    curve: list[Epoch] = []
    best = Best() if holdout is None else _before(tail, holdout)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for epoch in range(stop_after):
            losses = []
            for step, indices in enumerate(batches(len(labels), settings.batch_size, seed, stage.name, epoch)):
                shown, targets = inputs.batch(indices, labels[indices], epoch)
                logits = model(shown.to(fabric.device))
                # Targets are classes, or shares of classes where images were mixed: cross-entropy takes both.
                loss = F.cross_entropy(logits, targets.to(fabric.device), label_smoothing=settings.label_smoothing)
                _require_finite(loss, stage, epoch, step)
                opt.zero_grad()
                fabric.backward(loss)
                opt.step()
                schedule.step()
                losses.append(float(loss.detach()))
            point = Epoch(stage.name, epoch, sum(losses) / len(losses))
            if holdout is not None:
                point = _watch(tail, holdout, point, best)
            curve.append(point)
            if holdout is not None and epoch - best.epoch >= settings.patience:
                break
    if best.state:
        tail.load_state_dict(best.state)
    network.eval()
    return Course(tuple(curve), len(curve) if holdout is None else best.epoch + 1)


def batches(count: int, size: int, seed: int, *names: object) -> Iterator[Tensor]:
    """Indices of ``count`` images in random order, in batches of nearly equal size.

    Nearly equal, because a last batch of a single image would leave batch normalisation without a variance.
    """
    order = torch.randperm(count, generator=torch_generator(seed, "order", *names))
    yield from torch.tensor_split(order, math.ceil(count / size))


def rate_at(step: int, warm_up: int, total: int) -> float:
    """Share of the peak rate at ``step``: linear warm-up over one epoch, then half a cosine to zero."""
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up)))


@torch.no_grad()
def logits_of(tail: nn.Module, inputs: Tensor) -> Tensor:
    """Logits (n, classes) in eval mode, in batches; the module's mode is put back."""
    was = [(module, module.training) for module in tail.modules()]
    tail.eval()
    device = next(tail.parameters()).device
    out = torch.cat([tail(part.to(device)).cpu() for part in torch.split(inputs, 256)])
    for module, mode in was:
        module.training = mode
    return out


def holdout_figures(tail: nn.Module, holdout: Holdout) -> tuple[float, float]:
    """Loss in nats and accuracy on the held-out images."""
    logits = logits_of(tail, holdout.inputs)
    loss = float(F.cross_entropy(logits, holdout.labels))
    return loss, float((logits.argmax(1) == holdout.labels).float().mean())


def _before(tail: nn.Module, holdout: Holdout) -> Best:
    return Best(-1, holdout_figures(tail, holdout)[0], copy.deepcopy(tail.state_dict()))


def _watch(tail: nn.Module, holdout: Holdout, point: Epoch, best: Best) -> Epoch:
    loss, accuracy = holdout_figures(tail, holdout)
    if loss < best.loss:
        best.epoch, best.loss, best.state = point.epoch, loss, copy.deepcopy(tail.state_dict())
    return Epoch(point.stage, point.epoch, point.train_loss, loss, accuracy)


def _require_finite(loss: Tensor, stage: Stage, epoch: int, step: int) -> None:
    if not bool(torch.isfinite(loss)):
        raise TrainingError(
            f"the loss is {loss.detach().item()} in stage {stage.name!r}, epoch {epoch}, step {step}",
            where="train.learning_rate",
            remedy="lower the learning rate, and look at the validation report for odd images",
        )
