"""Training candidates on some of the images: finalists in every fold, trials of the search, the winner, its controls.

One recipe for all of them, so that what is compared on folds is what is delivered.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from graft.augment.choice import choose
from graft.augment.policies import build_policy
from graft.determinism import derive_seed
from graft.features.images import decoded
from graft.features.store import Store
from graft.select.candidates import FoldOutputs, Result, TrainSet, extractor_for, preprocessings_for, task_network
from graft.settings import Candidate, Params
from graft.train.auto_strategy import strategies_to_try
from graft.train.devices import device_for, fabric_for
from graft.train.finetune import Task, finetune
from graft.train.loop import logits_of
from graft.train.plan import STRATEGIES, Plan
from graft.train.precision import Mode, untried
from graft.zoo.network import Network
from graft.zoo.preprocessing import Preprocessing

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from graft.train.checkpoints import Keeper
    from graft.train.loop import Report
    from graft.train.trained import Trained

    # Which images are meant, bool (n).
    Rows = NDArray[np.bool_]

# What a network is computed in, from the network, its plan and its task.
ChooseMode = Callable[[Network, Plan, Task], Mode | None]
# Images whose logits are computed together.
AT_ONCE = 256


@dataclass(frozen=True)
class Training:
    """What candidates are trained with.

    Attributes:
        data: the training images.
        params: all settings.
        sources: the folder of the models that were pretrained here.
        store: what caches are kept in.
    """

    data: TrainSet
    params: Params
    sources: Path
    store: Store

    def preprocessing(self, candidate: Candidate) -> Preprocessing:
        """What a candidate's network is fed with; of several fits that may be tried the usual one."""
        return preprocessings_for(candidate, self.data, self.params, self.sources)[0]

    def task(self, candidate: Candidate, rows: Rows, device: torch.device) -> Task:
        """The images ``rows`` as a candidate's network is trained on them, larger ones where the policy crops."""
        preprocessing = self.preprocessing(candidate)
        policy = build_policy(choose(self.params.augment), preprocessing.geometry.size)
        larger = None
        if policy.enlargement > 1:
            # Of the whole side: what the centre crop leaves out may be cropped to.
            geometry = dataclasses.replace(preprocessing.geometry.enlarged(policy.enlargement), crop=1.0)
            larger = decoded(self.data.images, geometry, self.store)
        extractor = extractor_for(self.data.images, preprocessing, self.store, device)
        return Task(extractor, self.data.labels, rows, policy, self.data.images.paths, larger)

    def fit(
        self,
        candidate: Candidate,
        depth: int,
        strategy: str,
        rows: Rows,
        seed: int,
        fabric: Fabric,
        choose_mode: ChooseMode | None = None,
        keeper: Keeper | None = None,
        report: Report | None = None,
    ) -> Trained:
        """Train the candidate's network, cut after block ``depth``, on the images ``rows`` by a strategy.

        Raises:
            WeightsError: its weights cannot be had.
            TrainingError: the loss is not finite.
        """
        own = started_from(candidate, strategy)
        network = task_network(own, depth, len(self.data.classes), self.params, self.sources)
        plan = STRATEGIES[strategy].plan(len(network.blocks), self.params.train)
        task = self.task(own, rows, fabric.device)
        mode = None
        if choose_mode is not None:
            mode = choose_mode(network, plan, task)
            if mode is not None:
                fabric = fabric_for(self.params.compute.device, mode.precision)
        return finetune(network, plan, task, self.params.train, seed, fabric, keeper, mode, report)

    def logits(self, trained: Trained, candidate: Candidate, rows: Rows) -> NDArray[np.float32]:
        """Logits (m, classes) of the images ``rows`` by a trained network."""
        preprocessing = self.preprocessing(candidate)
        images = decoded(self.data.images, preprocessing.geometry, self.store)
        places = np.flatnonzero(rows)
        parts = [places[start : start + AT_ONCE] for start in range(0, len(places), AT_ONCE)]
        said = [
            logits_of(trained.network, preprocessing.normalise(torch.from_numpy(images[part]))).numpy()
            for part in parts
        ]
        return np.concatenate(said).astype(np.float32)


def started_from(candidate: Candidate, strategy: str) -> Candidate:
    """The candidate with the weights that a strategy starts from."""
    return dataclasses.replace(candidate, weights="none") if STRATEGIES[strategy].blank else candidate


def fitted(result: Result) -> Candidate:
    """The candidate with the fit that was chosen for it."""
    return dataclasses.replace(result.candidate, fit=result.preprocessing.geometry.fit)


def keep_features_at(result: Result, rows: slice, training: Training) -> None:
    """Run a finalist's backbone over some images, so that the cache has what heads are fitted to.

    Raises:
        WeightsError: its weights cannot be had.
    """
    params, data = training.params, training.data
    extractor = extractor_for(data.images, result.preprocessing, training.store, device_for(params.compute.device))
    some = extractor.of(rows)
    for depth in sorted({result.probe.depth, *result.probe.fold_depths}):
        network = task_network(result.candidate, depth, len(data.classes), params, training.sources)
        some.activations(network, len(network.blocks), np.ones(len(some.images), dtype=bool))


def train_in_folds(result: Result, folds: Sequence[int], training: Training) -> FoldOutputs:
    """Train a finalist without each of ``folds`` by every strategy that is to be compared, as the winner will be.

    In each fold the network is cut at the depth that was chosen inside the fold's training part, so that the fold had
    no say in it.

    Raises:
        TrainingError: the loss is not finite.
    """
    begun = time.perf_counter()
    params, data, candidate = training.params, training.data, fitted(result)
    fabric = fabric_for(params.compute.device)

    def plain_mode(network: Network, plan: Plan, task: Task) -> Mode | None:
        size = task.extractor.preprocessing.geometry.size
        return untried(network, size, fabric.device, torch.get_num_threads())

    depths = dict(zip(np.unique(data.folds).tolist(), result.probe.fold_depths, strict=True))
    probe = result.probe.mean if params.metric == "accuracy" else None
    strategies = strategies_to_try(params.train, candidate.weights, probe, len(data.classes))
    logits: dict[str, list[NDArray[np.float32]]] = {strategy: [] for strategy in strategies}
    for fold in folds:
        test = data.folds == fold
        for strategy in strategies:
            seed = derive_seed(params.seed, "select", candidate.arch, int(fold), strategy)
            trained = training.fit(candidate, depths[int(fold)], strategy, ~test, seed, fabric, plain_mode)
            logits[strategy].append(training.logits(trained, started_from(candidate, strategy), test))
    found = {strategy: tuple(values) for strategy, values in logits.items()}
    return FoldOutputs(tuple(map(int, folds)), found, time.perf_counter() - begun)
