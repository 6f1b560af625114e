"""What a fine-tuning gives, what lies behind one that goes on, and both as snapshots and back."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from graft.features.store import digest_of
from graft.settings import Train
from graft.train.checkpoints import Snapshot, under
from graft.train.plan import Plan
from graft.train.underway import Epoch
from graft.zoo.network import Network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.train.finetune import Task


# Images that it was trained on, of which is kept what its head receives: enough to know what lies near to them.
MOST_SHOWN = 2000


@dataclass(frozen=True)
class Watched:
    """What a network said of held-out images that it had not seen, at its best epoch: how far it can be trusted.

    Attributes:
        rows: indices of the held-out images among all of the task's, int64 (m).
        logits: float32 (m, classes), by the network of the first pass, whose training left these images out.
        features: float32 (m, d), what its head received of the same images.
        shown: float32 (r, d), what its head received of images that it was trained on, at most 2,000 of them.
    """

    rows: NDArray[np.int64]
    logits: NDArray[np.float32]
    features: NDArray[np.float32]
    shown: NDArray[np.float32]


_WATCHED = tuple(part.name for part in dataclasses.fields(Watched))


@dataclass(frozen=True)
class Trained:
    """A fine-tuned network, its learning curves, and the epochs that each stage was given.

    ``watched`` is None where nothing was held out. ``precision`` is what was calculated in, by Fabric's names.
    """

    network: Network
    curve: tuple[Epoch, ...]
    epochs: dict[str, int]
    watched: Watched | None = None
    precision: str = "32-true"


@dataclass(frozen=True)
class First:
    """What the first of two passes found: its curve, the best length of each stage, and what it said."""

    curve: tuple[Epoch, ...]
    epochs: dict[str, int]
    watched: Watched

    @classmethod
    def of(cls, saved: Snapshot) -> First | None:
        """None where the first pass is still under way."""
        kept = saved.facts["first"]
        if kept is None:
            return None
        return cls(_curve(kept["curve"]), kept["epochs"], _watched(saved))


@dataclass
class Pass:
    """The stages of one pass that are over: their points, and after how many epochs each was best."""

    points: list[Epoch] = field(default_factory=list)
    best: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, saved: Snapshot) -> Pass:
        """What lay behind when the snapshot was made."""
        kept = saved.facts["behind"]
        return cls(list(_curve(kept["curve"])), dict(kept["best"]))


def of_pass(stage: Snapshot, behind: Pass, first: First | None) -> Snapshot:
    """The snapshot of a stage under way, with what lies behind it."""
    facts = {
        **stage.facts,
        "behind": {"curve": [asdict(point) for point in behind.points], "best": behind.best},
        "first": None if first is None else {"curve": [asdict(p) for p in first.curve], "epochs": first.epochs},
    }
    return Snapshot(facts, {**stage.tensors, **_of_watched(None if first is None else first.watched)})


def to_finish(trained: Trained) -> Snapshot:
    """A finished training as a snapshot."""
    facts = {
        "curve": [asdict(point) for point in trained.curve],
        "epochs": trained.epochs,
        "precision": trained.precision,
    }
    return Snapshot(facts, {**under("network", trained.network.state_dict()), **_of_watched(trained.watched)})


def finished(saved: Snapshot, like: Network) -> Trained:
    """The opposite of :func:`to_finish`; ``like`` is a network of the same shape, and is left as it is."""
    network = copy.deepcopy(like).cpu()
    network.load_state_dict(saved.part("network"))
    watched = _watched(saved) if saved.part("watched") else None
    facts = saved.facts
    return Trained(network.eval(), _curve(facts["curve"]), dict(facts["epochs"]), watched, facts["precision"])


def task_key(
    network: Network, plan: Plan, task: Task, settings: Train, seed: int, computing: tuple[str, str]
) -> tuple[str, ...]:
    """Texts of everything that decides the result of a fine-tuning but for the code and the augmentation's options.

    ``computing`` is device and precision. How often checkpoints are written, and what the stage does besides, decide
    nothing.
    """
    rows = [task.labels, task.rows, np.empty(0) if task.held_out is None else task.held_out]
    deciding = dataclasses.replace(settings, checkpoint_seconds=0.0, control=False, label_counts=(), strategy="any")
    return (
        # Without the head: it is reset from the seed, and what it was before is as random as it likes.
        digest_of(network.tail(0)),
        str(network),
        str(plan),
        task.extractor.images_key,
        str(task.extractor.preprocessing),
        *(hashlib.sha256(part.tobytes()).hexdigest() for part in rows),
        str(task.policy is not None and task.policy.changes_anything),
        str(deciding),
        str(seed),
        *computing,
    )


def _curve(points: list[dict[str, object]]) -> tuple[Epoch, ...]:
    return tuple(Epoch(**point) for point in points)  # type: ignore[arg-type]


def _of_watched(watched: Watched | None) -> dict[str, torch.Tensor]:
    if watched is None:
        return {}
    return under("watched", {name: torch.from_numpy(getattr(watched, name)) for name in _WATCHED})


def _watched(saved: Snapshot) -> Watched:
    kept = saved.part("watched")
    return Watched(**{name: kept[name].numpy() for name in _WATCHED})


def some_of(rows: NDArray[np.bool_], most: int) -> NDArray[np.bool_]:
    """At most ``most`` of the marked rows, evenly spread; where they are in order of their paths, over all classes."""
    places = np.flatnonzero(rows)
    kept = np.zeros_like(rows)
    kept[places[np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(np.intp)]] = True
    return kept
