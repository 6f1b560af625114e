"""Ranks the candidates of params.yaml on several data sets, by the score of a linear probe."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.settings import Candidate, Params
from graft.data.ingest import table_in_place
from graft.data.manifest import build_manifest
from graft.data.sources.listing import SourceSpec
from graft.data.sources.registry import list_source
from graft.data.splits.splits import divide
from graft.data.stats_cache import StatsCache
from graft.features.cache import ArrayCache
from graft.features.image_cache import ImageSet, ListedFiles
from graft.metrics.scorer import ACCURACY, Scorer
from graft.modalities.registry import find_modality
from graft.models.zoo.registry import default_candidates
from graft.pipeline.inputs.selection import selection_inputs
from graft.selection.best import standard_error
from graft.selection.candidates import CandidateResult, probe_candidate
from graft.selection.failures import Failed, attempt, refuse_all
from graft.selection.inputs import SelectionInputs, TrainSet
from graft.selection.report.names import name_of_candidate, unique_names
from graft.tasks.registry import find_task

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Places:
    """Folders: root of relative paths, source models, cache, and scratch space for built-in data."""

    root: Path
    sources: Path
    cache: Path
    scratch: Path


@dataclass(frozen=True)
class Ranking:
    """The candidates on one data set.

    Attributes:
        source: as the user named it.
        classes: how many.
        images: that the candidates were probed on: the training part.
        found: a result for each candidate in the order of params.yaml, or why it failed.
    """

    source: str
    classes: int
    images: int
    found: tuple[CandidateResult | Failed, ...]

    @property
    def scores(self) -> NDArray[np.float64]:
        """Mean score of each candidate's probe over the folds; NaN where it failed."""
        return np.array([np.nan if isinstance(item, Failed) else item.probe.mean for item in self.found])

    @property
    def best(self) -> int:
        """Position of the candidate with the highest score, among equals the cheapest to serve."""
        able = [(place, item) for place, item in enumerate(self.found) if isinstance(item, CandidateResult)]
        return min(able, key=lambda pair: (-pair[1].probe.mean, pair[1].cost.gmacs))[0]


def train_part(source: str, params: Params, places: Places) -> TrainSet:
    """The training images of a data set with folds, as the pipeline would divide it by ``params``.

    Raises:
        DataError: there is no such source, or it cannot be divided, such as for a class with fewer images than folds.
    """
    places.scratch.mkdir(parents=True, exist_ok=True)
    modality = find_modality(params.data.modality)
    samples = list_source(
        SourceSpec(source, places.root, places.scratch, params.data.follow_links, modality=modality)
    ).samples
    table, in_order = table_in_place(samples)
    manifest = build_manifest(table, in_order, modality, cache=StatsCache(places.cache))
    files = dict(zip(table["path"], in_order, strict=True))
    splits = divide(manifest, params).table
    rows = splits[splits["split"] == "train"].merge(
        manifest.drop(columns=["label", "split", "group"], errors="ignore"), on="path"
    )
    some = [files[path] for path in rows["path"]]
    images = ImageSet(ListedFiles({str(file): file for file in some}), tuple(map(str, some)), tuple(rows["sha256"]))
    task = find_task(params.data.task)
    return TrainSet.of(rows, images, task.classes(splits["label"]), task)


def candidates_of(params: Params) -> tuple[Candidate, ...]:
    """The candidates of params.yaml; for ``auto``, which depends on the data, those for photographs."""
    return params.zoo.candidates or default_candidates(find_modality(params.data.modality).name, "natural", 224)


def rank_on(source: str, params: Params, places: Places, say: Callable[[str], None]) -> Ranking:
    """Probe every candidate on one data set.

    Raises:
        DataError: the data set cannot be used.
        GraftError: every candidate failed.
    """
    data = train_part(source, params, places)
    given = selection_inputs(data, params, places.sources, ArrayCache(places.cache, params.compute.cache_gb))
    found: list[CandidateResult | Failed] = []
    for candidate in candidates_of(params):
        found.append(_probed(candidate, given))
        say(f"{source}: {name_of_candidate(candidate)}: {_said(found[-1], given.criterion.scorer)}")
    failed = [item for item in found if isinstance(item, Failed)]
    if len(failed) == len(found):
        refuse_all(failed, name_of_candidate)
    return Ranking(source, len(data.classes), len(data.labels), tuple(found))


def _probed(candidate: Candidate, given: SelectionInputs) -> CandidateResult | Failed:
    found = attempt(lambda: probe_candidate(candidate, given), "probing")
    return Failed(candidate, found) if isinstance(found, str) else found


def _said(item: CandidateResult | Failed, scorer: Scorer) -> str:
    return f"failed {item.reason}" if isinstance(item, Failed) else f"linear probe {scorer.said(item.probe.mean)}"


def rank_on_all(
    sources: Sequence[str], params: Params, places: Places, say: Callable[[str], None]
) -> tuple[Ranking, ...]:
    """Probe every candidate on every data set; features in the cache are not computed again."""
    return tuple(
        rank_on(source, params, dataclasses.replace(places, scratch=places.scratch / str(number)), say)
        for number, source in enumerate(sources)
    )


def mean_ranks(rankings: Sequence[Ranking]) -> NDArray[np.float64]:
    """Mean over the data sets of each candidate's rank, 1 the best; equals share the mean of their ranks.

    A candidate that failed on a data set ranks last there (J. Demsar, Statistical Comparisons of Classifiers over
    Multiple Data Sets, JMLR 7, 2006, section 3.2.2, has ranks and their ties).
    """
    from scipy.stats import rankdata

    ranks = [rankdata(np.nan_to_num(-ranking.scores, nan=np.inf)) for ranking in rankings]
    mean: NDArray[np.float64] = np.mean(ranks, axis=0)
    return mean


def names(params: Params) -> list[str]:
    """The candidates' names, told apart by depth where two would be the same."""
    candidates = candidates_of(params)
    return unique_names([name_of_candidate(item) for item in candidates], [str(item.depth) for item in candidates])


def to_json(rankings: Sequence[Ranking], named: Sequence[str], scorer: Scorer = ACCURACY) -> dict[str, Any]:
    """All figures: a list of data sets with every candidate's scores, and the mean ranks, best first."""
    ranks = mean_ranks(rankings)
    order = sorted(range(len(named)), key=lambda place: (ranks[place], place))
    return {
        "metric": scorer.metric.name,
        "data": [
            {
                "source": item.source,
                "classes": item.classes,
                "train_images": item.images,
                "best": named[item.best],
                "candidates": [
                    {"name": name, **_figures(found, scorer)} for name, found in zip(named, item.found, strict=True)
                ],
            }
            for item in rankings
        ],
        "ranking": [{"name": named[place], "mean_rank": float(ranks[place])} for place in order],
    }


def _figures(item: CandidateResult | Failed, scorer: Scorer) -> dict[str, Any]:
    if isinstance(item, Failed):
        return {"probe_mean": None, "failed": item.reason}
    return {
        "probe_mean": scorer.shown(item.probe.mean),
        "probe_se": standard_error(item.probe.fold_scores),
        "knn": item.knn,
        "logme": item.logme,
        "depth": item.probe.depth,
        "params_m": item.cost.params_m,
        "gmacs": item.cost.gmacs,
    }
