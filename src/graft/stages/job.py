"""What the stages `tune` and `finetune` train: the winner of the selection, on training images, by a named strategy."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.errors import DataError
from graft.settings import Candidate, Params
from graft.stages.select import train_set
from graft.workspace import Workspace, user_cache

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from graft.features.store import Store
    from graft.select.candidates import TrainSet
    from graft.train.advice import Advice, Evidence
    from graft.train.checkpoints import Keeper
    from graft.train.finetune import Task, Trained
    from graft.train.loop import Report
    from graft.train.plan import Plan
    from graft.train.precision import Mode, Precision
    from graft.zoo.network import Network
    from graft.zoo.preprocessing import Preprocessing

    # Which images are meant, bool (n).
    Rows = NDArray[np.bool_]

# A hold-out of fewer images than this a class says nothing; then every stage runs its full length instead.
LEAST_HELD_OUT = 2


@dataclass(frozen=True)
class Job:
    """The winner, the training images, and how networks are trained.

    Attributes:
        winner: with the depth that selection took.
        blocks: how many blocks its whole network has.
        fabric: the device or devices.
        probe: cross-validated accuracy of a linear head on its frozen features; None: selection did not say.
        curve: the same after every block of the whole network; empty: selection did not say.
    """

    params: Params
    workspace: Workspace
    winner: Candidate
    data: TrainSet
    blocks: int
    fabric: Fabric
    probe: float | None = None
    curve: tuple[float, ...] = ()

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process has a device of its own."""
        return _there, (self.params, self.workspace, self.winner, self.data, self.blocks, self.probe, self.curve)

    @classmethod
    def open(cls, params: Params, workspace: Workspace, fabric: Fabric) -> Job:
        """Read what selection chose.

        Raises:
            DataError: nothing was chosen yet.
        """
        from graft.augment.auto import with_augmentation

        params = with_augmentation(params, workspace.augmentation)
        path = workspace.selection / "winner.json"
        try:
            chosen = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DataError("no candidate was chosen yet", where=path, remedy="run `.venv/bin/dvc repro`") from None
        names = [field.name for field in dataclasses.fields(Candidate)]
        winner = Candidate(**{name: chosen[name] for name in names if name in chosen})
        probe = chosen.get("probe", {"mean": None, "curve": ()})
        blocks, curve = chosen["blocks"], tuple(probe["curve"])
        return cls(params, workspace, winner, train_set(workspace), blocks, fabric, probe["mean"], curve)

    @property
    def store(self) -> Store:
        """Where decoded images and features are kept."""
        from graft.features.store import Store

        return Store(self.workspace.cache, self.params.compute.cache_gb)

    @property
    def depth(self) -> int:
        """The last block that is kept."""
        assert isinstance(self.winner.depth, int), "selection writes the depth it took"
        return self.winner.depth

    @property
    def evidence(self) -> Evidence:
        """What ``auto`` judges by."""
        from graft.train.advice import Evidence

        kept = self.depth + 1
        fewest = int(np.bincount(self.data.labels).min())
        return Evidence(fewest, len(self.data.classes), self.probe, self.curve[:kept], kept)

    @property
    def advice(self) -> Advice:
        """How the winner is trained; also on fewer labels, so that the curve over labels compares like with like."""
        from graft.train.advice import advise

        return advise(self.evidence, self.params.train)

    @property
    def keeper(self) -> Keeper:
        """Where the checkpoints of the networks lie until all of them are done."""
        from graft.augment.choice import choose
        from graft.train.checkpoints import Checkpoints, Keeper, Read

        identity = json.dumps(choose(self.params.augment).as_json())
        kind = Checkpoints if self.fabric.is_global_zero else Read
        folder = self.workspace.checkpoints / "finetune"
        return Keeper(folder, self.params.train.checkpoint_seconds, identity, kind)

    def candidate(self, strategy: str) -> Candidate:
        """The winner with the weights that a strategy starts from."""
        from graft.train.plan import STRATEGIES

        return dataclasses.replace(self.winner, weights="none") if STRATEGIES[strategy].blank else self.winner

    def train(self, strategy: str, rows: Rows, report: Report | None = None) -> Trained:
        """Train one network on the images ``rows`` by a named strategy, or go on where that was killed.

        A part of the rows is held out first, where the strategy stops early, and trained on after that.
        """
        from graft.train.plan import STRATEGIES

        held_out = self._held_out(rows) if STRATEGIES[strategy].stops_early else None
        return self._train(strategy, rows, held_out, self.keeper, report)

    def try_out(self, strategy: str, rows: Rows) -> Trained:
        """Train one network on the images ``rows`` for as long as the settings say; nothing of it is kept."""
        return self._train(strategy, rows, None, None, None)

    def _train(
        self, strategy: str, rows: Rows, held_out: Rows | None, keeper: Keeper | None, report: Report | None
    ) -> Trained:
        from graft.determinism import derive_seed
        from graft.select.candidates import task_network
        from graft.train.finetune import finetune
        from graft.train.plan import STRATEGIES

        candidate, sources = self.candidate(strategy), self.workspace.source_models
        network = task_network(candidate, self.depth, len(self.data.classes), self.params, sources)
        settings = self.advice.settings(self.params.train)
        plan = STRATEGIES[strategy].plan(len(network.blocks), settings)
        seed = derive_seed(self.params.seed, "finetune", strategy)
        task = self._task(candidate, rows, held_out)
        mode = self._mode(network, plan, task)
        fabric = self.fabric if mode is None else self._one_device(mode.precision)
        return finetune(network, plan, task, settings, seed, fabric, keeper, mode, report)

    def _mode(self, network: Network, plan: Plan, task: Task) -> Mode | None:
        """What one device computes in; several are set to a precision for good when they are launched."""
        from graft.train.trial import Ahead, choose_mode

        if self.fabric.world_size > 1:
            return None
        size, images = task.extractor.preprocessing.geometry.size, int(task.rows.sum())
        batch = self.params.train.batch_size
        ahead = Ahead(network, min((s.start for s in plan.stages), default=0), size, images, plan.epochs, batch)
        return choose_mode(ahead, self.params.compute, self.fabric.device, user_cache(), self._one_device)

    def _one_device(self, precision: Precision) -> Fabric:
        from graft.train.devices import fabric_for

        return fabric_for(self.params.compute.device, precision)

    def _task(self, candidate: Candidate, rows: Rows, held_out: Rows | None) -> Task:
        from graft.augment.choice import choose
        from graft.augment.policies import build_policy
        from graft.select.candidates import extractor_for
        from graft.train.finetune import Task

        preprocessing = self.preprocessing(candidate)
        extractor = extractor_for(self.data.images, preprocessing, self.store, self.fabric.device)
        policy = build_policy(choose(self.params.augment), preprocessing.geometry.size)
        return Task(extractor, self.data.labels, rows, held_out, policy, self.data.images.paths)

    def _held_out(self, rows: Rows) -> Rows | None:
        """The first fold of the rows: stratified and grouped like all folds. None where it would be too small."""
        held_out = rows & (self.data.folds == 0)
        least = np.bincount(self.data.labels[held_out], minlength=len(self.data.classes)).min()
        return held_out if least >= LEAST_HELD_OUT else None

    def preprocessing(self, candidate: Candidate) -> Preprocessing:
        """What a candidate's network is fed with."""
        from graft.select.candidates import preprocessings_for

        return preprocessings_for(candidate, self.data, self.params, self.workspace.source_models)[0]

    def prepared(self, candidate: Candidate) -> NDArray[np.uint8]:
        """The training images as its network is fed with them, uint8 (n, size, size, 3)."""
        from graft.features.images import decoded

        return decoded(self.data.images, self.preprocessing(candidate).geometry, self.store)

    def score(self, trained: Trained, strategy: str, rows: Rows, metric: str = "accuracy") -> float:
        """How well a network does on the training images ``rows`` by a metric, the greater the better."""
        import torch

        from graft.evaluate.scorer import scorer
        from graft.train.loop import logits_of

        candidate = self.candidate(strategy)
        preprocessing = self.preprocessing(candidate)
        parts = torch.split(torch.from_numpy(self.prepared(candidate)[rows]), 256)
        logits = torch.cat([logits_of(trained.network, preprocessing.normalise(part)) for part in parts])
        return scorer(metric)(self.data.labels[rows], logits.double().softmax(1).numpy())


def _there(
    params: Params,
    workspace: Workspace,
    winner: Candidate,
    data: TrainSet,
    blocks: int,
    probe: float | None,
    curve: tuple[float, ...],
) -> Job:
    """The job in another process."""
    from graft.train.devices import fabric_for

    return Job(params, workspace, winner, data, blocks, fabric_for(params.compute.device), probe, curve)
