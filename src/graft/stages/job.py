"""What the stages `tune` and `finetune` train: the winner of the selection, on training images, by a named strategy."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.errors import DataError
from graft.settings import Candidate, Params
from graft.stages.select import train_set
from graft.workspace import Workspace, user_cache

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from graft.select.candidates import TrainSet
    from graft.select.training import Training
    from graft.train.auto_strategy import StrategyChoice
    from graft.train.checkpoints import Keeper
    from graft.train.finetune import Task, Trained
    from graft.train.loop import Report
    from graft.train.plan import Plan
    from graft.train.precision import Mode, Precision
    from graft.zoo.network import Network
    from graft.zoo.preprocessing import Preprocessing

    # Which images are meant, bool (n).
    Rows = NDArray[np.bool_]

# What a strategy scored on the folds, for each that was tried.
Scores = Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Job:
    """The winner, the training images, and how networks are trained.

    Attributes:
        winner: with the depth that selection took.
        blocks: how many blocks its whole network has.
        fabric: the device or devices.
        scores: of each strategy that was tried, on the folds.
    """

    params: Params
    workspace: Workspace
    winner: Candidate
    data: TrainSet
    blocks: int
    fabric: Fabric
    scores: Scores = field(default_factory=dict)

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process has a device of its own."""
        return _there, (self.params, self.workspace, self.winner, self.data, self.blocks, self.scores)

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
        scores = {name: tuple(values) for name, values in chosen.get("trained", {}).items()}
        return cls(params, workspace, winner, train_set(workspace), chosen["blocks"], fabric, scores)

    @property
    def training(self) -> Training:
        """What networks are trained with."""
        from graft.features.store import Store
        from graft.select.training import Training

        store = Store(self.workspace.cache, self.params.compute.cache_gb)
        return Training(self.data, self.params, self.workspace.source_models, store)

    @property
    def depth(self) -> int:
        """The last block that is kept."""
        assert isinstance(self.winner.depth, int), "selection writes the depth it took"
        return self.winner.depth

    @property
    def choice(self) -> StrategyChoice:
        """How the winner is trained; also on fewer labels, so that the curve over labels compares like with like."""
        from graft.evaluate.scorer import scorer
        from graft.train.auto_strategy import choose_strategy

        shown = scorer(self.params.metric).shown
        return choose_strategy(self.params.train, self.winner.weights, self.scores, shown)

    @property
    def searched(self) -> str:
        """The strategy that a search varies: fine-tuning, also where the head was better at the settings at hand."""
        from graft.train.plan import AUTO

        varied = self.params.train.strategy == AUTO and self.winner.weights != "none"
        return "finetune" if varied else self.choice.strategy

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
        """Train one network on the images ``rows`` by a named strategy, or go on where that was killed."""
        return self._train(strategy, rows, self.keeper, report)

    def try_out(self, strategy: str, rows: Rows) -> Trained:
        """The same, and nothing of it is kept."""
        return self._train(strategy, rows, None, None)

    def _train(self, strategy: str, rows: Rows, keeper: Keeper | None, report: Report | None) -> Trained:
        from graft.determinism import derive_seed

        seed = derive_seed(self.params.seed, "finetune", strategy)
        return self.training.fit(self.winner, self.depth, strategy, rows, seed, self.fabric, self._mode, keeper, report)

    def _mode(self, network: Network, plan: Plan, task: Task) -> Mode | None:
        """What one device computes in; several are set to a precision for good when they are launched."""
        from graft.train.trial import Ahead, choose_mode

        if self.fabric.world_size > 1:
            return None
        size, images = task.extractor.preprocessing.geometry.size, int(task.rows.sum())
        batch = self.params.train.batch_size
        ahead = Ahead(network, plan.start or 0, size, images, plan.epochs, batch)
        return choose_mode(ahead, self.params.compute, self.fabric.device, user_cache(), self._one_device)

    def _one_device(self, precision: Precision) -> Fabric:
        from graft.train.devices import fabric_for

        return fabric_for(self.params.compute.device, precision)

    def preprocessing(self, candidate: Candidate) -> Preprocessing:
        """What a candidate's network is fed with."""
        return self.training.preprocessing(candidate)

    def prepared(self, candidate: Candidate) -> NDArray[np.uint8]:
        """The training images as its network is fed with them, uint8 (n, size, size, 3)."""
        from graft.features.images import decoded

        training = self.training
        return decoded(self.data.images, training.preprocessing(candidate).geometry, training.store)

    def logits(self, trained: Trained, strategy: str, rows: Rows) -> NDArray[np.float32]:
        """What a network says of the training images ``rows``, (m, classes)."""
        return self.training.logits(trained, self.candidate(strategy), rows)

    def score(self, trained: Trained, strategy: str, rows: Rows, metric: str = "accuracy") -> float:
        """How well a network does on the training images ``rows`` by a metric, the greater the better."""
        from scipy.special import softmax

        from graft.evaluate.scorer import scorer

        said = softmax(self.logits(trained, strategy, rows).astype(np.float64), axis=1)
        return scorer(metric)(self.data.labels[rows], said)


def _there(params: Params, workspace: Workspace, winner: Candidate, data: TrainSet, blocks: int, scores: Scores) -> Job:
    """The job in another process."""
    from graft.train.devices import fabric_for

    return Job(params, workspace, winner, data, blocks, fabric_for(params.compute.device), scores)
