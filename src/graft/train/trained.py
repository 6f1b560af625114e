"""What a fine-tuning gives, and one that is under way or finished as a snapshot and back."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch

from graft.features.keys import digest_of
from graft.settings import Train
from graft.train.checkpoints import Snapshot, under
from graft.train.plan import Plan
from graft.train.underway import Epoch
from graft.zoo.network import Network

if TYPE_CHECKING:
    from graft.train.finetune import Task


@dataclass(frozen=True)
class Trained:
    """A fine-tuned network, its learning curve, and the epochs in which blocks were trained.

    ``precision`` is what was calculated in, by Fabric's names.
    """

    network: Network
    curve: tuple[Epoch, ...]
    epochs: int
    precision: str = "32-true"


def under_way(stage: Snapshot, before: Iterable[Epoch]) -> Snapshot:
    """The snapshot of a stage under way, with the points of the curve that lie before it."""
    return Snapshot({**stage.facts, "before": [asdict(point) for point in before]}, stage.tensors)


def head_of(saved: Snapshot) -> tuple[Epoch, ...]:
    """The points of the curve that lay before the stage when the snapshot was made."""
    return _curve(saved.facts["before"])


def to_finish(trained: Trained) -> Snapshot:
    """A finished training as a snapshot."""
    facts = {
        "curve": [asdict(point) for point in trained.curve],
        "epochs": trained.epochs,
        "precision": trained.precision,
    }
    return Snapshot(facts, under("network", trained.network.state_dict()))


def finished(saved: Snapshot, like: Network) -> Trained:
    """The opposite of :func:`to_finish`; ``like`` is a network of the same shape, and is left as it is."""
    facts, network = saved.facts, _like(like, saved.part("network"))
    return Trained(network, _curve(facts["curve"]), facts["epochs"], facts["precision"])


def task_key(
    network: Network, plan: Plan, task: Task, settings: Train, seed: int, computing: tuple[str, ...]
) -> tuple[str, ...]:
    """Texts of everything that decides the result of a fine-tuning but for the code and the augmentation's options.

    ``computing`` is device and precision. How often checkpoints are written, and what the stage does besides, decide
    nothing.
    """
    deciding = dataclasses.replace(settings, checkpoint_seconds=0.0, control=False, label_counts=(), strategy="any")
    return (
        # Without the head: it is reset from the seed, and what it was before is as random as it likes.
        digest_of(network.tail(0)),
        str(network),
        str(plan),
        str(task.extractor.images_key),
        str(task.extractor.preprocessing),
        *(hashlib.sha256(part.tobytes()).hexdigest() for part in (task.labels, task.rows)),
        str(task.policy is not None and task.policy.changes_anything),
        str(None if task.larger is None else task.larger.shape),
        str(deciding),
        str(seed),
        *computing,
    )


def _curve(points: list[dict[str, object]]) -> tuple[Epoch, ...]:
    return tuple(Epoch(**point) for point in points)  # type: ignore[arg-type]


def _like(network: Network, state: dict[str, torch.Tensor]) -> Network:
    """A network of the same shape with the weights ``state``."""
    twin = copy.deepcopy(network).cpu()
    twin.load_state_dict(state)
    return twin.eval()
