"""Fine-tuning a network on labelled images: fit the head, then train blocks and head on a schedule of fixed length."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from graft.core.deadline import Deadline
from graft.core.determinism import derive_seed
from graft.core.settings import Train
from graft.features.extraction import Extractor, frozen_part
from graft.features.keys import digest_of
from graft.modalities.image.preprocessing import ImagePreprocessor
from graft.models.backbone import Network
from graft.tasks.base import Task
from graft.tasks.registry import CLASSIFICATION
from graft.training.checkpoint import Checkpoint, CheckpointStore
from graft.training.compute.devices import FULL_PRECISION, fabric_for, precision_of
from graft.training.compute.precision import Mode, set_memory_format
from graft.training.divergence import DivergedError
from graft.training.freezing import freeze, parameter_groups
from graft.training.imbalance import IMBALANCE
from graft.training.inputs import Augmented, BatchInputs, CachedActivations, cached_views
from graft.training.linear_head import START_STRENGTH, STRENGTHS, set_head, solve_head
from graft.training.objectives.base import Objective
from graft.training.objectives.supervised import Supervised
from graft.training.schedule import warmup_cosine
from graft.training.strategies import Plan, Stage
from graft.training.trainer import EpochLoss, StageData, Trainer, epoch_order

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from graft.augmentation.policies import Policy

    # Which images are meant, bool (n).
    Rows = NDArray[np.bool_]
    Report = Callable[[EpochLoss], None]

HEAD = "head"


@dataclass(frozen=True)
class FineTuningData:
    """What a network is fine-tuned on.

    Attributes:
        extractor: the images, and what runs frozen parts over them.
        labels: as the task encodes them (n).
        rows: which images are trained on, bool (n).
        policy: augmentation while blocks are trained; None: none, and kept activations are used.
        names: files of the images (n), for messages; may be empty.
        larger: what is augmented, uint8 (n, s, s, 3): the same images, larger where the policy crops; None: those of
            the extractor.
        objective: what is minimised while blocks are trained; None: the task's loss as the settings say.
        task: what is said of the images.
        features: what the head receives of all the images (n, features) before blocks are trained, where it is known.
    """

    extractor: Extractor
    labels: NDArray[Any]
    rows: Rows
    policy: Policy | None = None
    names: tuple[str, ...] = ()
    larger: NDArray[np.uint8] | None = None
    objective: Objective | None = None
    task: Task = CLASSIFICATION
    features: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Trained:
    """A fine-tuned network on the CPU, its learning curve, and the epochs in which blocks were trained.

    ``precision`` is what was calculated in, by Fabric's names; ``start`` the network with which the training of blocks
    began, with a fitted head where the plan has one; None: none were trained, and then ``features`` is what the head
    receives of all the images, where it is known.
    """

    network: Network
    curve: tuple[EpochLoss, ...]
    epochs: int
    precision: str = FULL_PRECISION
    start: Network | None = None
    features: NDArray[np.float32] | None = None


# The share of the last weights in the mean with the first: 0.5 to 1 differ by half a point (benchmarks/RESULTS.md).
LAST_SHARE = 0.7


def interpolate_with_start(trained: Trained) -> Trained:
    """The network whose parameters and buffers lie between those that the training of blocks began and ended with.

    M. Wortsman et al., Robust fine-tuning of zero-shot models, 2022, arXiv:2109.01903 (WiSE-FT). Both lie on one way of
    the training, so that the way between them has a low loss. Without trained blocks there is nothing between.
    """
    if trained.start is None:
        return trained
    network, start = copy.deepcopy(trained.network), trained.start.state_dict()
    mean = {
        name: torch.lerp(start[name], value, LAST_SHARE) if value.is_floating_point() else value
        for name, value in trained.network.state_dict().items()
    }
    network.load_state_dict(mean)
    return dataclasses.replace(trained, network=network)


def refit_head(network: Network, data: FineTuningData, balanced: bool) -> None:
    """Fit the head anew to the features that the network gives of its training images, as they are.

    Args:
        network: whose head is set.
        data: images and labels.
        balanced: whether every class weighs as much as any other.
    """
    features = data.extractor.activations(network, len(network.blocks), data.rows)
    assert isinstance(features, torch.Tensor), "the neck gives a vector"
    with threadpool_limits(1):
        weights, biases = data.task.refit_head(features.double().numpy(), data.labels[data.rows], balanced)
    set_head(network.cpu().head, weights, biases)


@dataclass(frozen=True)
class TrainingRun:
    """How a network is trained, and what computes it.

    Attributes:
        settings: hyper-parameters.
        seed: of the head, the order of the images, augmentation and dropout.
        fabric: device, precision and processes.
        checkpoints: where a training goes on from if it was killed; None: from its beginning.
        mode: memory format and threads; its precision is ``fabric``'s. None: as torch is set.
        report: told of every epoch.
        deadline: when the time is up; None: never.
    """

    settings: Train
    seed: int
    fabric: Fabric
    checkpoints: CheckpointStore | None = None
    mode: Mode | None = None
    report: Report | None = None
    deadline: Deadline | None = None

    def in_full_precision(self) -> TrainingRun:
        """The same in float32, on one device."""
        mode = None if self.mode is None else dataclasses.replace(self.mode, precision=FULL_PRECISION)
        return dataclasses.replace(self, fabric=fabric_for(str(self.fabric.device)), mode=mode)


def finetune(network: Network, plan: Plan, data: FineTuningData, run: TrainingRun) -> Trained:
    """Train a copy of ``network`` by ``plan``; ``network`` itself is left as it is.

    With ``run.checkpoints`` a training that was killed goes on from the end of its last saved epoch, and gives the
    bytes that it would have given; one that had come to its end is read and not done again. A training that comes to a
    number that is not finite in less than full precision is done again, once, in full precision, from its beginning.

    Raises:
        DivergedError: the loss or the weights are not finite.
    """
    precision = precision_of(run.fabric)
    try:
        return _finetune(network, plan, data, run)
    except DivergedError as error:
        if precision == FULL_PRECISION:
            raise
        print(f"warning: {error.what}\n  in {precision}: once more in {FULL_PRECISION}", file=sys.stderr)
        return _finetune(network, plan, data, run.in_full_precision())


def _finetune(network: Network, plan: Plan, data: FineTuningData, run: TrainingRun) -> Trained:
    own = copy.deepcopy(network).to(run.fabric.device)
    reset_head(own, derive_seed(run.seed, "head"))
    curve = [_fit_head(own, plan, data, run.settings)] if plan.head_first else []
    start: Network | None = None
    if plan.stage is not None:
        start = copy.deepcopy(own).cpu().eval()
        inputs = _inputs(own, plan.stage, data, derive_seed(run.seed, plan.stage.name))
        names = [data.names[i] for i in np.flatnonzero(data.rows)] if data.names else []
        shown = StageData(inputs, torch.from_numpy(data.labels[data.rows]), names)
        checkpoint = (
            None if run.checkpoints is None else run.checkpoints.open(_result_identity(network, plan, data, run))
        )
        curve += train_stage(own, plan.stage, shown, run, data.task, data.objective, checkpoint)
    features = data.features if plan.stage is None else None
    return Trained(own.cpu().eval(), tuple(curve), plan.epochs, precision_of(run.fabric), start, features)


def train_stage(
    network: Network,
    stage: Stage,
    data: StageData,
    run: TrainingRun,
    task: Task = CLASSIFICATION,
    objective: Objective | None = None,
    checkpoint: Checkpoint | None = None,
) -> tuple[EpochLoss, ...]:
    """Train ``network`` in place; its blocks before ``stage.start`` are frozen and are not run.

    Args:
        network: with a head for the task.
        stage: what is trained, how long, at which rates.
        data: images and labels.
        run: how, and by what.
        task: what is said of the images.
        objective: what is minimised; None: the task's loss as the settings say.
        checkpoint: of this stage.

    Returns:
        A point of the learning curve per epoch.

    Raises:
        DivergedError: the loss or the weights are not finite.
    """
    settings = run.settings
    if run.mode is not None:
        set_memory_format(network, run.mode)
    freeze(network, stage)
    class_weights, chances = (even(data.labels, network.head.out_features) for even in IMBALANCE[settings.imbalance])
    if class_weights is not None:
        data = dataclasses.replace(data, weights=class_weights[data.labels])
    objective = objective or Supervised(task, class_weights, settings.label_smoothing)
    groups = parameter_groups(network, stage, settings.weight_decay)
    groups += [{"params": list(part.parameters()), "lr": stage.rate} for part in objective.modules.values()]
    optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)
    count, size = len(data.labels), settings.batch_size
    order = epoch_order(count, size, stage.epochs, run.seed, stage.name, chances=chances)
    scheduler = warmup_cosine(optimizer, len(order[0]), stage.epochs)
    trainer = Trainer(
        run.fabric,
        objective,
        run.mode,
        settings.grad_clip_norm,
        settings.ema_decay,
        checkpoint,
        run.report,
        run.deadline,
    )
    tail = with_dropout(network.classifier_from(stage.start), settings.dropout)
    curve = trainer.fit(tail, optimizer, scheduler, data, order, run.seed, stage.name)
    network.eval()
    return curve


def with_dropout(tail: nn.Sequential, share: float) -> nn.Sequential:
    """``tail`` with dropout before its last part, the head; sharing its modules."""
    *before, head = tail
    return nn.Sequential(*before, nn.Dropout(share), head) if share else tail


def reset_head(network: Network, seed: int) -> None:
    """A fresh linear head, so that the loss starts near ln(classes)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.head.reset_parameters()


def _fit_head(network: Network, plan: Plan, data: FineTuningData, settings: Train) -> EpochLoss:
    if data.features is None:
        features = data.extractor.activations(network, len(network.blocks), data.rows)
        assert isinstance(features, torch.Tensor), "the neck gives a vector"
    else:
        features = torch.from_numpy(data.features[data.rows])
    # A head that is solved has no batches: classes are evened out by their weight, whichever way was asked for.
    balanced = settings.imbalance != "none"
    # Where blocks are trained after it, the head only has to point the right way.
    strengths = STRENGTHS if plan.stage is None else (START_STRENGTH / features.shape[1],)
    loss = solve_head(data.task, network.head, features, data.labels[data.rows], balanced, strengths)
    return EpochLoss(HEAD, 0, loss)


def _inputs(network: Network, stage: Stage, data: FineTuningData, seed: int) -> BatchInputs:
    """Kept activations where nothing before the boundary changes; else augmented images through the frozen part.

    Of these some views are kept where that is possible.
    """
    extractor = data.extractor
    if data.policy is None or not data.policy.changes_anything:
        return CachedActivations(extractor.activations(network, stage.start, data.rows))
    assert isinstance(extractor.preprocessing, ImagePreprocessor), "policies are for images"
    images = extractor.images if data.larger is None else data.larger
    frozen: nn.Module = frozen_part(network, stage.start).eval()
    classes = network.head.out_features
    rows = np.flatnonzero(data.rows)
    augmented = Augmented(images, rows, data.policy, extractor.preprocessing, frozen, seed, extractor.device, classes)
    return cached_views(augmented, stage.epochs) or augmented


def _result_identity(network: Network, plan: Plan, data: FineTuningData, run: TrainingRun) -> list[object]:
    """Everything that decides the result of a fine-tuning but for the code and the augmentation's options."""
    fabric = run.fabric
    return [
        # Without the head: it is reset from the seed, and what it was before is as random as it likes.
        digest_of(network.blocks_from(0)),
        network,
        plan,
        data.extractor.images_key,
        data.extractor.preprocessing,
        *(hashlib.sha256(part.tobytes()).hexdigest() for part in (data.labels, data.rows)),
        data.policy is not None and data.policy.changes_anything,
        None if data.larger is None else data.larger.shape,
        data.task.name,
        data.objective,
        # Not what the stage does besides.
        dataclasses.replace(run.settings, control=False, label_counts=(), strategy="any"),
        run.seed,
        *(fabric.device, precision_of(fabric), run.mode, fabric.world_size),
    ]
