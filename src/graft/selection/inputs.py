"""Inputs of a selection: the training images and plain settings, the same for every candidate and worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from graft.core.settings import Augment, Candidate, DepthScaling, FitChoice, Select, Train
from graft.features.cache import ArrayCache
from graft.features.image_cache import ImageSet
from graft.metrics.scorer import scorer
from graft.models.weights.locate import WeightsContext
from graft.selection.probes.heads import head_name
from graft.selection.probes.probe import LinearProbe
from graft.selection.rule import Criterion

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class TrainSet:
    """The training images of all candidates.

    Attributes:
        images: the files.
        labels: class indices (n).
        folds: (n).
        classes: their names.
        groups: (n), equal for images that must stay together, such as near duplicates; None: each by itself.
        facts: what the manifest says of them, a row per sample; None: nothing is known.
    """

    images: ImageSet
    labels: NDArray[np.int64]
    folds: NDArray[np.int64]
    classes: tuple[str, ...]
    groups: NDArray[np.int64] | None = None
    facts: pd.DataFrame | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, rows: pd.DataFrame, images: ImageSet, classes: tuple[str, ...]) -> TrainSet:
        """The training ``rows`` of the splits (label, fold, group) with their facts, in the order of ``images``."""
        # Copies: what pandas lends is not writable, which torch warns of.
        places = {name: index for index, name in enumerate(classes)}
        labels = np.array(rows["label"].map(places), dtype=np.int64)
        folds, groups = (rows[name].to_numpy("int64", copy=True) for name in ("fold", "group"))
        return cls(images, labels, folds, classes, groups, rows)


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

    @property
    def criterion(self) -> Criterion:
        """The metric and the rule that candidates are chosen by."""
        return Criterion(scorer(self.metric), self.select.rule)


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
    def linear_probe(self) -> LinearProbe:
        """The linear probe on the training images."""
        data, by = self.data, self.settings.criterion
        head = head_name(self.settings.select.probe, self.settings.metric)
        return LinearProbe(data.labels, data.folds, data.groups, self.settings.seed, head, by.scorer, by.rule)
