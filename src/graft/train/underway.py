"""One stage under way: everything that changes from step to step, and how it becomes a snapshot and back."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from graft.settings import Train
from graft.train.averaging import averaged
from graft.train.checkpoints import Snapshot, under
from graft.train.compiling import as_run
from graft.train.freezing import freeze, parameter_groups
from graft.train.plan import Stage
from graft.train.precision import Mode, lay_out
from graft.zoo.network import Network

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch.optim.swa_utils import AveragedModel

# The share of a stage's steps that warm-up takes at most.
MOST_WARM_UP = 0.25


@dataclass(frozen=True)
class Epoch:
    """One point of a learning curve; the mean loss of the epoch's steps in nats."""

    stage: str
    epoch: int
    train_loss: float


@dataclass
class Underway:
    """A stage's network, optimiser and place in the data.

    Attributes:
        network: the whole of it; ``tail`` is what runs, from the first trained block to the head.
        model: ``tail`` as Fabric runs it.
        average: of the tail's weights, where that is asked for.
        epoch: the one that goes on, counted from 0.
        step: how many of its batches were learned.
        losses: of these, in nats.
        points: of the epochs that are over.
    """

    network: Network
    tail: nn.Sequential
    model: Any
    optimizer: torch.optim.Optimizer
    schedule: LambdaLR
    average: AveragedModel | None
    epoch: int = 0
    step: int = 0
    losses: list[float] = field(default_factory=list)
    points: list[Epoch] = field(default_factory=list)

    @classmethod
    def begin(
        cls, network: Network, stage: Stage, settings: Train, steps: int, fabric: Fabric, mode: Mode | None = None
    ) -> Underway:
        """Freeze what is frozen, and make optimiser and schedule; ``steps`` are those of an epoch."""
        if mode is not None:
            lay_out(network, mode)
        freeze(network, stage)
        tail = with_dropout(network.ending(stage.start), settings.dropout)
        optimizer = torch.optim.AdamW(parameter_groups(network, stage, settings.weight_decay), fused=True)
        total = stage.epochs * steps
        schedule = LambdaLR(optimizer, lambda step: rate_at(step, warm_up_steps(steps, total), total))
        average = averaged(tail, settings.ema_decay) if settings.ema_decay else None
        model, wrapped = fabric.setup(as_run(tail, mode), optimizer)
        return cls(network, tail, model, wrapped, schedule, average)

    @property
    def rate(self) -> float:
        """The head's learning rate in this step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def settle(self) -> None:
        """End the stage: averaged weights, where there are any, become the network's."""
        if self.average is not None:
            self.tail.load_state_dict(self.average.module.state_dict())
        self.network.eval()

    def snapshot(self) -> Snapshot:
        """Everything, random states included. The snapshot's tensors are the network's own, not copies."""
        names: dict[Tensor, str] = {parameter: name for name, parameter in self.network.named_parameters()}
        tensors = under("network", self.network.state_dict()) | _random(self._device)
        if self.average is not None:
            tensors |= under("average", self.average.state_dict())
        for parameter, state in self.optimizer.state.items():
            tensors |= under(f"optimizer.{names[parameter]}", state)
        facts = {
            "epoch": self.epoch,
            "step": self.step,
            "losses": self.losses,
            "points": [asdict(point) for point in self.points],
            "schedule": {key: value for key, value in self.schedule.state_dict().items() if key != "lr_lambdas"},
            "groups": [
                {**_numbers(group), "names": [names[parameter] for parameter in group["params"]]}
                for group in self.optimizer.param_groups
            ],
            "requires_grad": [name for name, value in self.network.named_parameters() if value.requires_grad],
            "training": [name for name, module in self.network.named_modules() if module.training],
        }
        return Snapshot(facts, tensors)

    def restore(self, saved: Snapshot) -> None:
        """Become what :meth:`snapshot` was made of, in place: memory keeps its layout, and so kernels their bits."""
        facts = saved.facts
        self.epoch, self.step, self.losses = facts["epoch"], facts["step"], list(facts["losses"])
        self.points = [Epoch(**point) for point in facts["points"]]
        self.network.load_state_dict(saved.part("network"))
        learning, training = set(facts["requires_grad"]), set(facts["training"])
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name in learning)
        for name, module in self.network.named_modules():
            module.training = name in training
        if self.average is not None:
            self.average.load_state_dict(saved.part("average"))
        self._restore_optimizer(saved)
        _set_random(saved)

    def _restore_optimizer(self, saved: Snapshot) -> None:
        parameters = dict(self.network.named_parameters())
        for group, kept in zip(self.optimizer.param_groups, saved.facts["groups"], strict=True):
            group["params"] = [parameters[name] for name in kept["names"]]
            group.update({key: value for key, value in kept.items() if key not in {"names", "betas"}})
            group["betas"] = tuple(kept["betas"])
            for name in kept["names"]:
                for key, value in saved.part(f"optimizer.{name}").items():
                    like = parameters[name].detach() if value.shape == parameters[name].shape else value
                    self.optimizer.state[parameters[name]][key] = torch.empty_like(like, dtype=value.dtype).copy_(value)
        self.schedule.load_state_dict({**saved.facts["schedule"], "lr_lambdas": [None] * len(saved.facts["groups"])})

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device


def with_dropout(tail: nn.Sequential, share: float) -> nn.Sequential:
    """``tail`` with dropout before its last part, the head; sharing its modules."""
    *before, head = tail
    return nn.Sequential(*before, nn.Dropout(share), head) if share else tail


def warm_up_steps(epoch: int, total: int) -> int:
    """Steps of warm-up in a stage of ``total`` steps: those of an epoch, or a quarter of all where that is fewer.

    A stage of one epoch would otherwise be nothing but warm-up, and end before it ever had the rate that was set.
    """
    return min(epoch, int(MOST_WARM_UP * total))


def rate_at(step: int, warm_up: int, total: int) -> float:
    """Share of the peak rate at ``step`` of ``total``: linear over ``warm_up`` steps, then half a cosine to zero.

    I. Loshchilov and F. Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, 2017, arXiv:1608.03983.
    """
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, total - warm_up)))


def _numbers(group: dict[str, Any]) -> dict[str, Any]:
    """A parameter group without its parameters: what JSON can hold."""
    return {key: value for key, value in group.items() if key != "params"}


def _random(device: torch.device) -> dict[str, Tensor]:
    """The states of torch's generators. No other is drawn from: augmentation has a seed for every image."""
    states = {"random.cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["random.cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_random(saved: Snapshot) -> None:
    states = saved.part("random")
    # Copies: a generator wants memory of its own.
    torch.set_rng_state(states["cpu"].clone())
    if "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].clone())
