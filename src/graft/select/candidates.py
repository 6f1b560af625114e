"""Running the candidates: features and probes of each, then the finalists fine-tuned in every fold."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from graft.determinism import derive_seed
from graft.evaluate.scorer import scorer
from graft.features.extract import Extractor
from graft.features.images import ImageSet, decoded
from graft.features.store import Store
from graft.images.conversion import depth_range, fits_to_try, usual_cut
from graft.select.heads import head_for
from graft.select.knn import knn_accuracy
from graft.select.limits import Excess
from graft.select.logme import logme
from graft.select.measure import Measured
from graft.select.probe import Probe, best_of, probe_at, probe_auto
from graft.select.rule import Criterion
from graft.settings import Candidate, Params, Train
from graft.train.devices import device_for, fabric_for
from graft.train.finetune import Task, finetune
from graft.train.loop import logits_of
from graft.train.plan import Plan, staged
from graft.train.precision import untried
from graft.zoo.catalogue import published_accuracy
from graft.zoo.cost import Cost, costs_by_depth
from graft.zoo.network import Network, cut, require_block
from graft.zoo.preprocessing import Preprocessing
from graft.zoo.weights import Surroundings, preprocessing_of, pretrained

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray


_FACTS = ["width", "height", "depth_low", "depth_high"]
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
        facts: what the manifest says of them, a row per image; None: they are square and have 8 bits.
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
        return cls(images, labels, folds, classes, groups, rows.filter(_FACTS) if set(_FACTS) <= set(rows) else None)


@dataclass(frozen=True)
class Result:
    """What selection knows of one candidate.

    Attributes:
        candidate: as written in params.yaml.
        preprocessing: what its network is fed with, the fit being that of the best probe.
        blocks: how many blocks the whole network has.
        probe: scores of a linear head on its frozen features.
        cost: of the network as it would be served, cut at the probe's depth.
        finetuned: score per fold after a short fine-tuning; empty where it was no finalist.
        whole: cost of the network if it were not cut.
        knn: leave-one-out accuracy of k nearest neighbours at that depth.
        logme: log evidence per image in nats at that depth.
        published: top-1 accuracy on ImageNet that the weights' publisher states, or None.
        measured: time and memory as it would be served, None until that is measured.
        excess: limits that it does not keep; such a candidate cannot win.
        seconds: spent on it: decoding and features where they were not kept yet, probes, fine-tuning.
        fits: mean score of the probe by each fit that was tried.
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
    fits: Mapping[str, float] = field(default_factory=dict)

    @property
    def scores(self) -> tuple[float, ...]:
        """The scores it is judged by: fine-tuned ones where there are any, else the probe's."""
        return self.finetuned or self.probe.fold_scores

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


def preprocessings_for(
    candidate: Candidate, data: TrainSet, params: Params, sources: Path
) -> tuple[Preprocessing, ...]:
    """What a candidate's network can be fed with, the first being the usual: one for each fit that is worth trying."""
    own = preprocessing_of(candidate, around(params, sources))
    choice, cut, depth = candidate.fit or params.preprocess.fit, 0.0, own.geometry.depth_range
    if data.facts is not None:
        cut, depth = usual_cut(data.facts), depth_range(data.facts, params.image.depth_scaling)
    return tuple(
        dataclasses.replace(own, geometry=dataclasses.replace(own.geometry, fit=fit, depth_range=depth))
        for fit in fits_to_try(choice, cut)
    )


def keep_features(
    candidate: Candidate, rows: slice, data: TrainSet, params: Params, sources: Path, store: Store
) -> None:
    """Run a candidate's network over some images, so that the cache has what :func:`probe_candidate` asks of it.

    Raises:
        ConfigError: it cannot be built.
        WeightsError: its weights cannot be had.
    """
    found = pretrained(candidate, around(params, sources))
    device = device_for(params.compute.device)
    for preprocessing in preprocessings_for(candidate, data, params, sources):
        extractor_for(data.images, preprocessing, store, device).of(rows).every_depth(found.network)


def probe_candidate(candidate: Candidate, data: TrainSet, params: Params, sources: Path, store: Store) -> Result:
    """One forward pass over the training images for each fit that is tried, then linear heads at every depth.

    Raises:
        ConfigError: it cannot be built, or has no block of that depth.
        WeightsError: its weights cannot be had.
        TrainingError: its features are not finite.
    """
    begun = time.perf_counter()
    found = pretrained(candidate, around(params, sources))
    device, tried = device_for(params.compute.device), preprocessings_for(candidate, data, params, sources)
    features = [extractor_for(data.images, one, store, device).every_depth(found.network) for one in tried]
    probes = [_probe(candidate, depths, found.network, data, params) for depths in features]
    best, probe = best_of(probes)
    depths, last = features[best], len(features[best]) - 1
    costs = costs_by_depth(found.network.cpu(), found.preprocessing.geometry.size, len(data.classes))
    return Result(
        candidate,
        tried[best],
        len(depths),
        probe,
        costs[probe.depth],
        whole=costs[last],
        knn=knn_accuracy(depths[probe.depth], data.labels, data.groups),
        logme=logme(depths[probe.depth], data.labels),
        fits={one.geometry.fit: found.mean for one, found in zip(tried, probes, strict=True)},
        published=published_accuracy(candidate),
        seconds=time.perf_counter() - begun,
    )


def _probe(
    candidate: Candidate, depths: Sequence[NDArray[np.float32]], network: Network, data: TrainSet, params: Params
) -> Probe:
    head, by = head_for(params), Criterion.of(params)
    if candidate.depth == "auto":
        return probe_auto(depths, data.labels, data.folds, params.seed, head, data.groups, by.scorer, by.rule)
    depth = len(depths) - 1 if candidate.depth == "last" else candidate.depth
    require_block(network, depth)
    return probe_at(depths, data.labels, data.folds, depth, params.seed, head, data.groups, by.scorer)


def task_network(candidate: Candidate, depth: int, classes: int, params: Params, sources: Path) -> Network:
    """The candidate's network with its weights, cut after block ``depth``, with a head for the task's classes."""
    return cut(pretrained(candidate, around(params, sources)).network, depth, classes)


def keep_activations(result: Result, rows: slice, data: TrainSet, params: Params, sources: Path, store: Store) -> None:
    """Run a finalist's frozen part over some images, so that the cache has what :func:`finetune_in_folds` asks of it.

    Raises:
        WeightsError: its weights cannot be had.
    """
    network, extractor, _, plan = _finalist(result, data, params, sources, store)
    some = extractor.of(rows)
    for stop in {len(network.blocks), *(stage.start for stage in plan.stages)}:
        some.activations(network, stop, np.ones(len(some.images), dtype=bool))


def _finalist(
    result: Result, data: TrainSet, params: Params, sources: Path, store: Store
) -> tuple[Network, Extractor, Train, Plan]:
    """Its network, the images for it, and how it is trained.

    The settings are the defaults, not those of ``train``: changing how the winner is trained does not call the
    selection into question.
    """
    network = task_network(result.candidate, result.probe.depth, len(data.classes), params, sources)
    extractor = extractor_for(data.images, result.preprocessing, store, device_for(params.compute.device))
    settings = dataclasses.replace(Train(), finetune_epochs=params.select.finetune_epochs, label_smoothing=SMOOTHING)
    return network, extractor, settings, staged(len(network.blocks), settings)


@dataclass(frozen=True)
class Tuned:
    """A finalist trained without some of the folds, and scored on each of them.

    Attributes:
        folds: their numbers (k).
        scores: score on each (k), by `metric`.
        said: for each fold the probabilities (images of the fold, classes) by the network that did not see it.
        seconds: that it took.
    """

    folds: tuple[int, ...]
    scores: tuple[float, ...]
    said: tuple[NDArray[np.float64], ...]
    seconds: float


def finetune_in_folds(
    result: Result, folds: Sequence[int], data: TrainSet, params: Params, sources: Path, store: Store
) -> Tuned:
    """Fine-tune a finalist without each of ``folds``, on a short schedule, and score it on the fold.

    Nothing before the freezing boundary changes, so all folds and epochs start from that boundary's activations,
    which are computed once.

    Raises:
        TrainingError: the loss is not finite.
    """
    begun = time.perf_counter()
    network, extractor, settings, plan = _finalist(result, data, params, sources, store)
    fabric = fabric_for(params.compute.device)
    mode = untried(network, extractor.preprocessing.geometry.size, fabric.device, torch.get_num_threads())
    scores, said = [], []
    for fold in folds:
        test = data.folds == fold
        seed = derive_seed(params.seed, "select", result.candidate.arch, int(fold))
        task = Task(extractor, data.labels, ~test)
        trained = finetune(network, plan, task, settings, seed, fabric, mode=mode).network
        start = plan.stages[-1].start
        logits = logits_of(trained.ending(start), extractor.activations(trained, start, test))
        said.append(logits.double().softmax(1).numpy())
        scores.append(scorer(params.metric)(data.labels[test], said[-1]))
    return Tuned(tuple(map(int, folds)), tuple(scores), tuple(said), time.perf_counter() - begun)


def with_tuned(result: Result, parts: Sequence[Tuned], data: TrainSet) -> Result:
    """The result with what came of fine-tuning it in all folds, in whatever parts that was done."""
    scores: dict[int, float] = {}
    said = np.zeros((len(data.labels), len(data.classes)))
    for part in parts:
        for fold, score, probabilities in zip(part.folds, part.scores, part.said, strict=True):
            scores[fold] = score
            said[data.folds == fold] = probabilities
    seconds = result.seconds + sum(part.seconds for part in parts)
    tuned = tuple(scores[int(fold)] for fold in np.unique(data.folds))
    return dataclasses.replace(result, finetuned=tuned, out_of_fold=said, seconds=seconds)
