"""Probing the candidates: features of each, and linear heads at every depth."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from graft.core.settings import Candidate
from graft.features.cache import ArrayCache
from graft.features.extraction import Extractor
from graft.features.image_cache import ImageSet, decoded
from graft.inference.pretrained import load_pretrained, preprocessing_of
from graft.modalities.preprocessor import Preprocessor
from graft.models.backbone import Network, cut, require_block
from graft.models.flops import Cost, costs_by_depth
from graft.models.zoo.registry import published_accuracy
from graft.selection.cost.measure import Measured
from graft.selection.inputs import SelectionInputs
from graft.selection.out_of_fold import rightly_named
from graft.selection.probes.knn import knn_accuracy
from graft.selection.probes.logme import logme
from graft.selection.probes.probe import ProbeResult, best_probe
from graft.training.auto_strategy import (
    HEAD_ONLY,
    OUT_OF_TIME,
    StrategyChoice,
    choose_strategy,
    strategies_to_try,
)
from graft.training.compute.devices import device_for

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Excess:
    """One limit that a candidate does not keep."""

    setting: str
    unit: str
    figure: float
    limit: float

    def __str__(self) -> str:
        """``11.2 million parameters, 6.2 more than select.max_params_m (5) allows``."""
        return (
            f"{self.figure:.3g} {self.unit}, {self.figure - self.limit:.3g} more than select.{self.setting} "
            f"({self.limit:g}) allows"
        )


@dataclass(frozen=True)
class CandidateResult:
    """What selection knows of one candidate.

    Attributes:
        candidate: as written in params.yaml.
        preprocessing: what its network is fed with, the fit being that of the best probe.
        blocks: how many blocks the whole network has.
        probe: scores of a linear head on its frozen features.
        cost: of the network as it would be served, cut at the probe's depth.
        trained: for each strategy that was tried its score on each fold that all of them were trained without, by
            ``metric``; empty where it was no finalist.
        delivers: the strategy that it is trained by if it wins; None where it was no finalist.
        whole: cost of the network if it were not cut.
        knn: leave-one-out accuracy of k nearest neighbours at that depth; None where a target is no class.
        logme: log evidence per image in nats at that depth; None likewise.
        published: top-1 accuracy on ImageNet that the weights' publisher states, or None.
        measured: time and memory as it would be served, None until that is measured.
        excess: limits that it does not keep; such a candidate cannot win.
        seconds: spent on it: decoding and features where they were not kept yet, probes, fine-tuning.
        fits: mean score of the probe by each fit that was tried.
        out_of_fold: for each strategy that was tried logits (n, classes) of every image by the network that did not
            see its fold; NaN where none was trained without that fold.
    """

    candidate: Candidate
    preprocessing: Preprocessor
    blocks: int
    probe: ProbeResult
    cost: Cost
    trained: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    delivers: StrategyChoice | None = None
    whole: Cost | None = None
    knn: float | None = None
    logme: float | None = None
    published: float | None = None
    measured: Measured | None = None
    excess: tuple[Excess, ...] = ()
    seconds: float = 0.0
    out_of_fold: Mapping[str, NDArray[np.float32]] = field(default_factory=dict, compare=False, repr=False)
    fits: Mapping[str, float] = field(default_factory=dict)

    @property
    def scores(self) -> tuple[float, ...]:
        """The scores it is judged by: for a finalist those of the strategy it delivers, else the probe's."""
        return self.probe.fold_scores if self.delivers is None else self.trained[self.delivers.strategy]

    @property
    def is_finalist(self) -> bool:
        """Whether it was trained without some folds."""
        return self.delivers is not None

    @property
    def finetuned(self) -> tuple[float, ...]:
        """Scores per fold with trained blocks; empty where only a head was fitted."""
        return self.trained.get("finetune") or self.trained.get("scratch") or ()

    @property
    def mean(self) -> float:
        """Mean of :attr:`scores`."""
        return float(np.mean(self.scores))


def extractor_for(images: ImageSet, preprocessing: Preprocessor, store: ArrayCache, device: torch.device) -> Extractor:
    """The samples as a candidate's loader reads them, ready to be run through its network."""
    array = decoded(images, preprocessing.loader, store)
    return Extractor(array, images.key(preprocessing.loader), preprocessing, store, device)


def preprocessings_for(candidate: Candidate, given: SelectionInputs) -> tuple[Preprocessor, ...]:
    """What a candidate's network can be fed with: the variants that are worth trying, the usual one first."""
    settings = given.settings
    own = preprocessing_of(candidate, settings.weights)
    return tuple(own.variants(given.data.facts, candidate.fit or settings.fit, settings.depth_scaling))


def keep_features(candidate: Candidate, rows: slice, given: SelectionInputs) -> None:
    """Run a candidate's network over some images, so that the cache has what :func:`probe_candidate` asks of it.

    Raises:
        ConfigError: it cannot be built.
        WeightsError: its weights cannot be had.
    """
    found = load_pretrained(candidate, given.settings.weights)
    device = device_for(given.settings.device)
    for preprocessing in preprocessings_for(candidate, given):
        extractor_for(given.data.images, preprocessing, given.store, device).subset(rows).block_features(found.network)


def probe_candidate(candidate: Candidate, given: SelectionInputs) -> CandidateResult:
    """One forward pass over the training images for each fit that is tried, then linear heads at every depth.

    Raises:
        ConfigError: it cannot be built, or has no block of that depth.
        WeightsError: its weights cannot be had.
        TrainingError: its features are not finite.
    """
    begun, data = time.perf_counter(), given.data
    found = load_pretrained(candidate, given.settings.weights)
    device, tried = device_for(given.settings.device), preprocessings_for(candidate, given)
    features = [extractor_for(data.images, one, given.store, device).block_features(found.network) for one in tried]
    probes = [_probe(candidate, depths, found.network, given) for depths in features]
    best, probe = best_probe(probes)
    depths, last = features[best], len(features[best]) - 1
    sample = found.preprocessing.collate(found.preprocessing.loader.random_rows(1))
    costs = costs_by_depth(found.network.cpu(), sample, len(data.outputs))
    categorical = data.task.categorical
    return CandidateResult(
        candidate,
        tried[best],
        len(depths),
        probe,
        costs[probe.depth],
        whole=costs[last],
        knn=knn_accuracy(depths[probe.depth], data.labels, data.groups) if categorical else None,
        logme=logme(depths[probe.depth], data.labels) if categorical else None,
        fits={one.variant or "": found.mean for one, found in zip(tried, probes, strict=True)},
        published=published_accuracy(candidate),
        seconds=time.perf_counter() - begun,
    )


def _probe(
    candidate: Candidate, depths: Sequence[NDArray[np.float32]], network: Network, given: SelectionInputs
) -> ProbeResult:
    if candidate.depth == "auto":
        return given.linear_probe.best_depth(depths)
    depth = len(depths) - 1 if candidate.depth == "last" else candidate.depth
    require_block(network, depth)
    return given.linear_probe.at_depth(depths, depth)


def task_network(candidate: Candidate, depth: int, given: SelectionInputs) -> Network:
    """The candidate's network with its weights, cut after block ``depth``, with a head for the task's outputs."""
    return cut(load_pretrained(candidate, given.settings.weights).network, depth, len(given.data.outputs))


@dataclass(frozen=True)
class FoldOutputs:
    """What networks of a finalist say of the folds that they were trained without.

    Attributes:
        logits: for each strategy, by the fold's number, float32 (images of the fold, classes).
        seconds: that it took.
        out_of_time: whether the time was up before blocks were trained as often as was wanted.
    """

    logits: Mapping[str, Mapping[int, NDArray[np.float32]]]
    seconds: float
    out_of_time: bool = False


def with_scores(result: CandidateResult, parts: Sequence[FoldOutputs], given: SelectionInputs) -> CandidateResult:
    """The result with what came of training it without folds, in whatever parts that was done.

    Strategies are compared on the folds that all of them were trained without, and where finalists are fine-tuned, so
    are all finalists: also one whose head is so good that nothing else is tried.
    """
    data, by = given.data, given.criterion
    scores: dict[str, dict[int, float]] = {}
    logits: dict[str, NDArray[np.float32]] = {}
    for part in parts:
        for strategy, by_fold in part.logits.items():
            said = logits.setdefault(strategy, np.full((len(data.labels), len(data.outputs)), np.nan, np.float32))
            for fold, values in by_fold.items():
                test = data.folds == fold
                said[test] = values
                scores.setdefault(strategy, {})[fold] = data.score(values, test, by.scorer)
    settings, weights = given.settings, result.candidate.weights
    common = set.intersection(*map(set, scores.values()))
    # Unless the head alone is all that anybody tries.
    if set(strategies_to_try(settings.train, weights, None, len(data.outputs))) - set(HEAD_ONLY):
        common &= set(finetune_folds(data.folds, settings.select.finetune_folds))
    ordered = {strategy: tuple(found[fold] for fold in sorted(common)) for strategy, found in scores.items()}
    seconds = result.seconds + sum(part.seconds for part in parts)
    right = rightly_named(logits, data.labels) if by.scorer.metric.name == "accuracy" else None
    chosen = choose_strategy(settings.train, weights, ordered, by.scorer.shown, right)
    if any(part.out_of_time for part in parts):
        chosen = dataclasses.replace(chosen, why=f"{chosen.why}; {OUT_OF_TIME}")
    return dataclasses.replace(result, trained=ordered, delivers=chosen, out_of_fold=logits, seconds=seconds)


def finetune_folds(folds: NDArray[np.int64], count: int | None) -> tuple[int, ...]:
    """The first ``count`` of the folds' numbers, or all: those that blocks are trained without."""
    return tuple(np.unique(folds)[:count].tolist())
