"""Running the candidates: features and probes of each, then the finalists fine-tuned in every fold."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from graft.determinism import derive_seed
from graft.features.extract import Extractor
from graft.features.images import ImageSet, decoded
from graft.features.store import Store
from graft.select.knn import knn_accuracy
from graft.select.limits import Excess
from graft.select.logme import logme
from graft.select.measure import Measured
from graft.select.probe import Probe, probe_at, probe_auto
from graft.settings import Candidate, Params, Train
from graft.train.devices import fabric_for
from graft.train.finetune import Task, finetune
from graft.train.loop import logits_of
from graft.train.plan import staged
from graft.zoo.catalogue import published_accuracy
from graft.zoo.cost import Cost, cost_of
from graft.zoo.network import Network, cut, require_block
from graft.zoo.preprocessing import Preprocessing
from graft.zoo.weights import Surroundings, pretrained

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


# A finalist's short fine-tuning has neither a hold-out to stop it nor augmentation, so smoothed targets hold it back:
# without them ResNet-18 fell from 0.97 to 0.92 on the demo's folds, under the probe of its own frozen features.
SMOOTHING = 0.1


@dataclass(frozen=True)
class TrainSet:
    """The training images of all candidates.

    Attributes:
        images: the files.
        labels: class indices (n).
        folds: (n).
        classes: their names.
        groups: (n), equal for images that must stay together, such as near duplicates; None: each by itself.
    """

    images: ImageSet
    labels: NDArray[np.int64]
    folds: NDArray[np.int64]
    classes: tuple[str, ...]
    groups: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, rows: pd.DataFrame, images: ImageSet, classes: tuple[str, ...]) -> TrainSet:
        """The training ``rows`` of the table of splits (label, fold, group), whose files ``images`` are, in order."""
        # Copies: what pandas lends is not writable, which torch warns of.
        places = {name: index for index, name in enumerate(classes)}
        labels = np.array(rows["label"].map(places), dtype=np.int64)
        folds, groups = (rows[name].to_numpy("int64", copy=True) for name in ("fold", "group"))
        return cls(images, labels, folds, classes, groups)


@dataclass(frozen=True)
class Result:
    """What selection knows of one candidate.

    Attributes:
        candidate: as written in params.yaml.
        preprocessing: what its network is fed with.
        blocks: how many blocks the whole network has.
        probe: scores of a linear head on its frozen features.
        cost: of the network as it would be served, cut at the probe's depth.
        finetuned: accuracy per fold after a short fine-tuning; empty where it was no finalist.
        whole: cost of the network if it were not cut.
        knn: leave-one-out accuracy of k nearest neighbours at that depth.
        logme: log evidence per image in nats at that depth.
        published: top-1 accuracy on ImageNet that the weights' publisher states, or None.
        measured: time and memory as it would be served, None until that is measured.
        excess: limits that it does not keep; such a candidate cannot win.
        seconds: spent on it: decoding and features where they were not kept yet, probes, fine-tuning.
        out_of_fold: for a finalist, probabilities (n, classes) of each image by the network that did not see its fold.
    """

    candidate: Candidate
    preprocessing: Preprocessing
    blocks: int
    probe: Probe
    cost: Cost
    finetuned: tuple[float, ...] = ()
    whole: Cost | None = None
    knn: float | None = None
    logme: float | None = None
    published: float | None = None
    measured: Measured | None = None
    excess: tuple[Excess, ...] = ()
    seconds: float = 0.0
    out_of_fold: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)

    @property
    def head_alone(self) -> bool:
        """Whether a linear head on its frozen features did better in the folds than a short fine-tuning did.

        With few images that is common: the schedule has few steps, and what it moves was right already.
        """
        return bool(self.finetuned) and np.mean(self.probe.fold_scores) > np.mean(self.finetuned)

    @property
    def scores(self) -> tuple[float, ...]:
        """The scores it is judged by: a finalist's by the better of both ways, else the probe's.

        Either way is open to the training that follows, which stops early where moving the blocks does not help.
        """
        return self.finetuned if self.finetuned and not self.head_alone else self.probe.fold_scores

    @property
    def mean(self) -> float:
        """Mean of :attr:`scores`."""
        return float(np.mean(self.scores))


def around(params: Params, sources: Path) -> Surroundings:
    """What the candidates' weights are found with."""
    return Surroundings(sources, params.zoo.offline, params.seed)


def extractor_for(images: ImageSet, preprocessing: Preprocessing, store: Store, device: torch.device) -> Extractor:
    """The decoded images at a candidate's geometry, ready to be run through it."""
    array = decoded(images, preprocessing.geometry, store)
    return Extractor(array, images.key(preprocessing.geometry), preprocessing, store, device)


def probe_candidate(candidate: Candidate, data: TrainSet, params: Params, sources: Path, store: Store) -> Result:
    """One forward pass over the training images, then linear heads at every depth.

    Raises:
        ConfigError: it cannot be built, or has no block of that depth.
        WeightsError: its weights cannot be had.
        TrainingError: its features are not finite.
    """
    begun = time.perf_counter()
    found = pretrained(candidate, around(params, sources))
    extractor = extractor_for(data.images, found.preprocessing, store, fabric_for(params.compute.device).device)
    depths = extractor.every_depth(found.network)
    last, head = len(depths) - 1, params.select.probe
    if candidate.depth == "auto":
        probe = probe_auto(depths, data.labels, data.folds, params.seed, groups=data.groups, head=head)
    else:
        depth = last if candidate.depth == "last" else candidate.depth
        require_block(found.network, depth)
        probe = probe_at(depths, data.labels, data.folds, depth, params.seed, groups=data.groups, head=head)
    whole = found.network.cpu()
    size = found.preprocessing.geometry.size
    return Result(
        candidate,
        found.preprocessing,
        len(depths),
        probe,
        cost_of(cut(whole, probe.depth, len(data.classes)), size),
        whole=cost_of(cut(whole, last, len(data.classes)), size),
        knn=knn_accuracy(depths[probe.depth], data.labels, data.groups),
        logme=logme(depths[probe.depth], data.labels),
        published=published_accuracy(candidate),
        seconds=time.perf_counter() - begun,
    )


def task_network(candidate: Candidate, depth: int, classes: int, params: Params, sources: Path) -> Network:
    """The candidate's network with its weights, cut after block ``depth``, with a head for the task's classes."""
    return cut(pretrained(candidate, around(params, sources)).network, depth, classes)


def finetune_in_folds(result: Result, data: TrainSet, params: Params, sources: Path, store: Store) -> Result:
    """Fine-tune a finalist on each fold's training part, on a short schedule, and score it on the fold.

    Nothing before the freezing boundary changes, so all folds and epochs start from that boundary's activations,
    which are computed once. The settings are the defaults, not those of ``train``: changing how the winner is
    trained does not call the selection into question.

    Raises:
        TrainingError: the loss is not finite.
    """
    begun = time.perf_counter()
    network = task_network(result.candidate, result.probe.depth, len(data.classes), params, sources)
    fabric = fabric_for(params.compute.device)
    extractor = extractor_for(data.images, result.preprocessing, store, fabric.device)
    epochs = params.select.finetune_epochs
    settings = dataclasses.replace(Train(), finetune_epochs=epochs, label_smoothing=SMOOTHING)
    plan = staged(len(network.blocks), settings)
    scores, said = [], np.zeros((len(data.labels), len(data.classes)))
    for fold in np.unique(data.folds):
        test = data.folds == fold
        seed = derive_seed(params.seed, "select", result.candidate.arch, int(fold))
        trained = finetune(network, plan, Task(extractor, data.labels, ~test), settings, seed, fabric).network
        start = plan.stages[-1].start
        logits = logits_of(trained.ending(start), extractor.activations(trained, start, test))
        said[test] = logits.double().softmax(1).numpy()
        scores.append(float(np.mean(logits.argmax(1).numpy() == data.labels[test])))
    seconds = result.seconds + time.perf_counter() - begun
    return dataclasses.replace(result, finetuned=tuple(scores), out_of_fold=said, seconds=seconds)
