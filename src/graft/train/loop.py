"""The training loop: one stage on Lightning Fabric, with warm-up and a cosine that ends with the last step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from graft.determinism import torch_generator
from graft.progress import track
from graft.settings import Train
from graft.train.checkpoints import Snapshot
from graft.train.divergence import diverged, is_finite, weights_are_finite
from graft.train.imbalance import IMBALANCE
from graft.train.inputs import Inputs
from graft.train.plan import Stage
from graft.train.precision import Mode, computing, laid_out
from graft.train.several import mean_of, share_of, weight_of
from graft.train.underway import Epoch, Underway
from graft.zoo.network import Network

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    # Told after every step how the stage stands, and after every epoch how it went.
    Watch = Callable[[Underway], None]
    Report = Callable[[Epoch], None]


# Values of a batch that is only looked at, such as 20 images of 224 px. What a network makes of larger batches does not
# fit into a processor's cache and has to be fetched from memory in every layer.
_VALUES_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Lesson:
    """What a stage is trained on.

    Attributes:
        inputs: what the first trained block receives.
        labels: class indices (n).
        names: files of the images (n), for messages; may be empty.
    """

    inputs: Inputs
    labels: Tensor
    names: Sequence[str] = ()


def run_stage(
    network: Network,
    stage: Stage,
    lesson: Lesson,
    settings: Train,
    seed: int,
    fabric: Fabric,
    after_step: Watch | None = None,
    saved: Snapshot | None = None,
    mode: Mode | None = None,
    report: Report | None = None,
) -> tuple[Epoch, ...]:
    """Train ``network`` in place for one stage.

    Args:
        network: its blocks before ``stage.start`` are frozen and are not run.
        stage: what is trained, how long, at which rates.
        lesson: images and labels.
        settings: batch size, and what holds training back.
        seed: for the order of the images and for dropout.
        fabric: device and precision.
        after_step: told after every step how the stage stands.
        saved: a snapshot of this stage, from which it goes on.
        mode: memory format and threads; its precision is ``fabric``'s. None: as torch is set.
        report: told after every epoch how it went.

    Returns:
        A point per epoch.

    Raises:
        DivergedError: the loss or the weights are not finite; the message names stage, epoch, step, rate and batch.
    """
    steps = math.ceil(len(lesson.labels) / settings.batch_size)
    run = Underway.begin(network, stage, settings, steps, fabric, mode)
    weights, _ = IMBALANCE[settings.imbalance]
    of_classes = weights(lesson.labels, network.head.out_features)
    with torch.random.fork_rng(devices=[]), computing(mode):
        torch.manual_seed(seed)
        if saved is not None:
            run.restore(saved)
            if run.step == steps:
                _end_epoch(run, stage, report)
        order = _order(run, stage, lesson, settings, seed)
        shares = [(share_of(batch, fabric), epoch) for batch, epoch in order]
        given = zip(order, shares, lesson.inputs.batches(shares, lesson.labels), strict=True)
        for (batch, _), (indices, _), (inputs, targets) in track(
            given, f"training: {stage.name}", total=len(order), unit="steps"
        ):
            logits = run.model(laid_out(inputs.to(fabric.device), mode))
            # Targets are classes, or shares of classes where images were mixed: cross-entropy takes both.
            loss = F.cross_entropy(
                logits,
                targets.to(fabric.device),
                weight=None if of_classes is None else of_classes.to(fabric.device),
                label_smoothing=settings.label_smoothing,
            )
            loss = loss * weight_of(lesson.labels, indices, batch, of_classes, fabric)
            # All processes see the mean of all, so that they stop together where it is not finite.
            seen = mean_of(loss, fabric)
            _require_finite(seen, run, stage, lesson, indices)
            _descend(run, loss, settings, fabric)
            run.losses.append(seen)
            if after_step is not None:
                after_step(run)
            if run.step == steps:
                _end_epoch(run, stage, report)
    run.settle()
    if not weights_are_finite(network):
        raise diverged("weights are not finite", f"stage {stage.name!r}, after its last step", stage.rate, ())
    return tuple(run.points)


def _order(run: Underway, stage: Stage, lesson: Lesson, settings: Train, seed: int) -> list[tuple[Tensor, int]]:
    """Indices of the images of each step and its epoch, from where ``run`` stands to the end of the stage."""
    _, chances = IMBALANCE[settings.imbalance]
    drawn = chances(lesson.labels, run.network.head.out_features)
    order = [
        (indices, epoch)
        for epoch in range(run.epoch, stage.epochs)
        for indices in batches(len(lesson.labels), settings.batch_size, seed, stage.name, epoch, chances=drawn)
    ]
    return order[run.step :]


def _end_epoch(run: Underway, stage: Stage, report: Report | None) -> None:
    run.points.append(Epoch(stage.name, run.epoch, sum(run.losses) / len(run.losses)))
    run.epoch, run.step, run.losses = run.epoch + 1, 0, []
    if report is not None:
        report(run.points[-1])


def _descend(run: Underway, loss: Tensor, settings: Train, fabric: Fabric) -> None:
    run.optimizer.zero_grad()
    fabric.backward(loss)
    if settings.clip_norm is not None:
        # A norm that is not finite shows in the weights, which are looked at before they are kept anywhere.
        fabric.clip_gradients(run.model, run.optimizer, max_norm=settings.clip_norm, error_if_nonfinite=False)
    run.optimizer.step()
    run.schedule.step()
    if run.average is not None:
        run.average.update_parameters(run.tail)
    run.step += 1


def _require_finite(loss: float, run: Underway, stage: Stage, lesson: Lesson, indices: Tensor) -> None:
    if not is_finite(loss):
        place = f"stage {stage.name!r}, epoch {run.epoch}, step {run.step}"
        names = [lesson.names[i] if lesson.names else f"image {i}" for i in indices.tolist()]
        raise diverged(f"the loss is {loss}", place, run.rate, names)


def batches(count: int, size: int, seed: int, *names: object, chances: Tensor | None = None) -> Iterator[Tensor]:
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


@torch.no_grad()
def logits_of(tail: nn.Module, inputs: Tensor) -> Tensor:
    """Logits (n, classes) in eval mode, in batches; the module's mode is put back."""
    was = [(module, module.training) for module in tail.modules()]
    tail.eval()
    device = next(tail.parameters()).device
    out = torch.cat([tail(part.to(device)).cpu() for part in torch.split(inputs, _at_once(inputs))])
    for module, mode in was:
        module.training = mode
    return out


def _at_once(inputs: Tensor) -> int:
    """How many of ``inputs`` (n, ...) go through a network together: 4 to 256, fewer where they are larger."""
    return max(4, min(256, _VALUES_AT_ONCE // inputs[0].numel()))
