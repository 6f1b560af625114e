"""Training one candidate's network on some of the images: a finalist in a fold, a trial of the search, the winner.

One recipe for all of them, so that what is compared on folds is what is delivered.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from graft.augmentation.policy_config import build_policy, parse_policies
from graft.core.deadline import Deadline
from graft.core.determinism import derive_seed
from graft.core.settings import Augment, Candidate, Train
from graft.features.cache import ArrayCache
from graft.features.image_cache import decoded
from graft.inference.pretrained import load_pretrained
from graft.metrics.scorer import Scorer
from graft.modalities.image.preprocessing import ImagePreprocessor
from graft.modalities.preprocessor import Preprocessor
from graft.models.backbone import Network, cut
from graft.models.weights.locate import WeightsContext
from graft.selection.candidates import extractor_for
from graft.selection.inputs import TrainSet
from graft.training.compute.devices import fabric_for
from graft.training.compute.precision import Mode
from graft.training.compute.precision_autotune import usual_mode
from graft.training.finetune import FineTuningData, Trained, TrainingRun, finetune, interpolate_with_start, refit_head
from graft.training.logits import logits_of
from graft.training.strategies import STRATEGIES, Plan

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from numpy.typing import NDArray

    from graft.training.checkpoint import CheckpointStore
    from graft.training.finetune import Report, TrainingRun

    # Which images are meant, bool (n).
    Rows = NDArray[np.bool_]

# What a network is computed in.
ChooseMode = Callable[[Network, Plan, FineTuningData, Train, torch.device], Mode | None]
# Images whose logits are computed together.
AT_ONCE = 256


@dataclass(frozen=True)
class Start:
    """Where a training starts: a candidate's weights, and what its network is fed with."""

    candidate: Candidate
    preprocessing: Preprocessor
    weights: WeightsContext

    def network(self) -> Network:
        """The whole network with its weights.

        Raises:
            WeightsError: the weights cannot be had.
        """
        return load_pretrained(self.candidate, self.weights).network


@dataclass(frozen=True)
class CandidateTrainer:
    """Trains one candidate's network on subsets of the training images; can be sent to another process.

    Attributes:
        transfer: where strategies start that keep the candidate's weights.
        blank: the same architecture with random weights.
        depth: the last block that is kept.
        data: the training images.
        settings: hyper-parameters.
        augment: what varies the images.
        store: of decoded images and activations.
        device: by its name in params.yaml.
        seed: the project's.
        choose_mode: of precision and memory format.
        deadline: when the time is up; None: never.
    """

    transfer: Start
    blank: Start
    depth: int
    data: TrainSet
    settings: Train
    augment: Augment
    store: ArrayCache
    device: str
    seed: int
    choose_mode: ChooseMode = usual_mode
    deadline: Deadline | None = None

    def start(self, strategy: str) -> Start:
        """Where a strategy starts."""
        return self.blank if STRATEGIES[strategy].blank else self.transfer

    def with_settings(self, settings: Train) -> CandidateTrainer:
        """The same by other hyper-parameters."""
        return dataclasses.replace(self, settings=settings)

    def with_seed(self, seed: int) -> CandidateTrainer:
        """The same by another seed, also of random weights."""
        blank = dataclasses.replace(self.blank, weights=dataclasses.replace(self.blank.weights, seed=seed))
        return dataclasses.replace(self, blank=blank, seed=seed)

    def fit(
        self,
        strategy: str,
        rows: Rows,
        purpose: tuple[object, ...] = ("finetune",),
        fabric: Fabric | None = None,
        checkpoints: CheckpointStore | None = None,
        report: Report | None = None,
    ) -> Trained:
        """Train a network by a strategy.

        Args:
            strategy: a row of :data:`graft.training.strategies.STRATEGIES`.
            rows: which images it is trained on.
            purpose: names that the seed is derived from, with the strategy's.
            fabric: the devices that train together; None: one.
            checkpoints: where it goes on from if it was killed; None: from its beginning.
            report: told of every epoch.

        Raises:
            WeightsError: the weights cannot be had.
            TrainingError: the loss is not finite.
        """
        if (whole := STRATEGIES[strategy].interpolates) is not None:
            return self.interpolated(self.fit(whole, rows, purpose, fabric, checkpoints, report), strategy, rows)
        fabric = fabric or fabric_for(self.device)
        whole_network = self.start(strategy).network()
        network = cut(whole_network, self.depth, len(self.data.outputs))
        plan = STRATEGIES[strategy].plan(len(network.blocks), self.settings)
        task, mode = self._task(strategy, rows, fabric.device), None
        if plan.head_first:
            # Probes kept them, for every depth at once.
            features = task.extractor.block_features(whole_network)[self.depth]
            task = dataclasses.replace(task, features=features)
        # Several devices are set to a precision for good when they are launched.
        if fabric.world_size == 1:
            mode = self.choose_mode(network, plan, task, self.settings, fabric.device)
        if mode is not None:
            fabric = fabric_for(self.device, mode.precision)
        seed = derive_seed(self.seed, *purpose, strategy)
        run = TrainingRun(self.settings, seed, fabric, checkpoints, mode, report, self.deadline)
        return finetune(network, plan, task, run)

    def interpolated(self, trained: Trained, strategy: str, rows: Rows) -> Trained:
        """The network between the first and the last weights of a training, with a head fitted to its features."""
        if trained.start is None:
            return trained
        found = interpolate_with_start(trained)
        device = fabric_for(self.device).device
        refit_head(found.network, self._task(strategy, rows, device), self.settings.imbalance != "none")
        return found

    def _task(self, strategy: str, rows: Rows, device: torch.device) -> FineTuningData:
        """The images as the network is trained on them, larger ones where the policy crops."""
        preprocessing, images = self.start(strategy).preprocessing, self.data.images
        policy = build_policy(parse_policies(self.augment), preprocessing.size)
        larger = None
        if policy.enlargement > 1:
            assert isinstance(preprocessing, ImagePreprocessor), "policies are for images"
            # Of the whole side: what the centre crop leaves out may be cropped to.
            geometry = dataclasses.replace(preprocessing.geometry.enlarged(policy.enlargement), crop=1.0)
            larger = decoded(images, geometry, self.store)
        extractor = extractor_for(images, preprocessing, self.store, device)
        return FineTuningData(extractor, self.data.labels, rows, policy, images.paths, larger, task=self.data.task)

    def images(self, strategy: str) -> NDArray[Any]:
        """The training samples as a strategy's loader reads them, (n, ...)."""
        return decoded(self.data.images, self.start(strategy).preprocessing.loader, self.store)

    def logits(self, trained: Trained, strategy: str, rows: Rows) -> NDArray[np.float32]:
        """Logits (m, classes) of the images ``rows`` by a trained network."""
        if trained.features is not None:
            return logits_of(trained.network.head, torch.from_numpy(trained.features[rows])).numpy()
        samples, collate = self.images(strategy), self.start(strategy).preprocessing.collate
        places = np.flatnonzero(rows)
        parts = [places[start : start + AT_ONCE] for start in range(0, len(places), AT_ONCE)]
        logits = [logits_of(trained.network, collate(samples[part])).numpy() for part in parts]
        return np.concatenate(logits).astype(np.float32)

    def fit_each(self, strategies: Sequence[str], rows: Rows, purpose: tuple[object, ...]) -> dict[str, Trained]:
        """What :meth:`fit` gives for each of ``strategies``; what is interpolated is trained once."""
        single = [name for name in strategies if STRATEGIES[name].interpolates is None]
        trained = {name: self.fit(name, rows, purpose) for name in single}
        for name in strategies:
            if (whole := STRATEGIES[name].interpolates) is not None:
                trained[name] = self.interpolated(trained.get(whole) or self.fit(whole, rows, purpose), name, rows)
        return trained

    def fold_logits(self, strategy: str, purpose: tuple[object, ...], fold: int) -> NDArray[np.float32]:
        """Logits (m, classes) of a fold's images by a network that is trained on the other folds."""
        held_out = self.data.folds == fold
        return self.logits(self.fit(strategy, ~held_out, purpose), strategy, held_out)

    def score(self, trained: Trained, strategy: str, rows: Rows, scorer: Scorer) -> float:
        """How well a network does on the images ``rows``, the greater the better."""
        return self.data.score(self.logits(trained, strategy, rows), rows, scorer)


def score_by_fold(logits: NDArray[np.float32], data: TrainSet, scorer: Scorer) -> tuple[float, ...]:
    """The score of out-of-fold logits (n, classes) on each fold."""
    folds = [data.folds == fold for fold in np.unique(data.folds)]
    return tuple(data.score(logits[fold], fold, scorer) for fold in folds)
