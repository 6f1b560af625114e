"""Inputs of a selection: the training images and plain settings, the same for every candidate and worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.deadline import Deadline
from graft.core.errors import ConfigError, did_you_mean
from graft.core.settings import Augment, Candidate, DepthScaling, FitChoice, Select, Train
from graft.features.cache import ArrayCache
from graft.features.image_cache import ImageSet
from graft.metrics.scorer import Scorer, scorer
from graft.models.weights.locate import WeightsContext
from graft.selection.best import Criterion
from graft.selection.probes.probe import LinearProbe
from graft.tasks.base import LinearHead, Task
from graft.tasks.registry import CLASSIFICATION

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class TrainSet:
    """The training images of all candidates.

    Attributes:
        images: the files.
        labels: as the task encodes them (n): class indices, say.
        folds: (n).
        classes: their names; empty where the task has none.
        groups: (n), equal for images that must stay together, such as near duplicates; None: each by itself.
        facts: what the manifest says of them, a row per sample; None: nothing is known.
        task: what is said of them.
    """

    images: ImageSet
    labels: NDArray[Any]
    folds: NDArray[np.int64]
    classes: tuple[str, ...]
    groups: NDArray[np.int64] | None = None
    facts: pd.DataFrame | None = field(default=None, compare=False, repr=False)
    task: Task = CLASSIFICATION

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of a network's outputs."""
        return self.task.outputs(self.classes)

    def score(self, outputs: NDArray[np.float32], rows: NDArray[np.bool_], scorer: Scorer) -> float:
        """The score of a network's outputs (m, k) for the images ``rows``, bool (n), the greater the better."""
        return scorer(self.labels[rows], self.task.postprocess(outputs))

    @classmethod
    def of(cls, rows: pd.DataFrame, images: ImageSet, classes: tuple[str, ...], task: Task) -> TrainSet:
        """The training ``rows`` of the splits (label, fold, group) with their facts, in the order of ``images``."""
        # Copies: what pandas lends is not writable, which torch warns of.
        labels = task.encode(rows["label"], classes)
        folds, groups = (rows[name].to_numpy("int64", copy=True) for name in ("fold", "group"))
        return cls(images, labels, folds, classes, groups, rows, task)


@dataclass(frozen=True)
class SelectionSettings:
    """Settings of a selection, as the stage resolved them.

    Attributes:
        candidates: to choose from.
        metric: name of the metric that candidates are scored by.
        select: number of finalists, rule, kind of probe, limits.
        fit: how images of other proportions are fitted where a candidate does not say it.
        depth_scaling: how images of more than 8 bits are scaled.
        weights: where pretrained weights are found.
        train: hyper-parameters of the finalists.
        augment: augmentation of the finalists.
        device: name of the device.
        seed: the project's.
        deadline: when no more blocks are trained; None: never.
    """

    candidates: tuple[Candidate, ...]
    metric: str
    select: Select
    fit: FitChoice
    depth_scaling: DepthScaling
    weights: WeightsContext
    train: Train
    augment: Augment
    device: str
    seed: int
    deadline: Deadline | None = None


@dataclass(frozen=True)
class SelectionInputs:
    """What every worker of a selection needs.

    Attributes:
        data: the training images.
        settings: see there.
        store: of decoded images and features.
    """

    data: TrainSet
    settings: SelectionSettings
    store: ArrayCache

    @property
    def criterion(self) -> Criterion:
        """The metric and the rule that candidates are chosen by."""
        return Criterion(scorer(self.settings.metric, self.data.task.metrics), self.settings.select.rule)

    @property
    def linear_probe(self) -> LinearProbe:
        """The linear probe on the training images.

        Raises:
            ConfigError: the task has no such head.
        """
        data, by = self.data, self.criterion
        head = head_for(by.scorer, self.settings.select.probe, data.task)
        outputs, seed = len(data.outputs), self.settings.seed
        return LinearProbe(data.labels, data.folds, head, outputs, data.groups, seed, by.scorer, by.rule)


def head_for(scorer: Scorer, probe: str, task: Task) -> LinearHead:
    """The head that ``select.probe`` names, or one that gives probabilities where the metric needs them.

    Raises:
        ConfigError: the task has no such head.
    """
    if probe not in task.probes:
        remedy = did_you_mean(probe, task.probes)
        raise ConfigError(f"there is no linear head {probe!r}", where="select.probe", remedy=remedy)
    named = task.probes[probe]
    if named.gives_probabilities or not scorer.needs_probabilities:
        return named
    return next(head for head in task.probes.values() if head.gives_probabilities)
