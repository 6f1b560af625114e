"""Work of the parallel workers: feature extraction, probes of candidates, fold trainings of finalists.

A candidate's own failure is returned as its reason, in one line; errors that affect every candidate are raised.

Extraction comes first, in parts of the images: it is most of the work, and three candidates would leave the second of
two workers idle for a third of the time. Cached rows are the same whatever part they were computed in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice, pairwise
from typing import TypeVar

import numpy as np

from graft.core.settings import Candidate
from graft.parallel.mapper import Mapper
from graft.parallel.outcomes import Done, Failure, value_of
from graft.selection.candidates import CandidateResult, FoldOutputs, keep_features, probe_candidate, with_scores
from graft.selection.failures import attempt
from graft.selection.finalists import train_in_folds
from graft.selection.inputs import SelectionInputs

T = TypeVar("T")

# Images that make a part worth sending: to build the network takes as long as some of them.
LEAST_IMAGES = 64
# A candidate, and the images (start, stop) to run its network over.
Part = tuple[Candidate, int, int]


def extract_part(given: SelectionInputs, part: Part) -> str | None:
    """Run a network over some of the images, whose features are then in the cache; the reason if it failed."""
    candidate, start, stop = part
    return attempt(lambda: keep_features(candidate, slice(start, stop), given), "probing")


def probe_one(given: SelectionInputs, candidate: Candidate) -> CandidateResult | str:
    """Probe a candidate; the reason if it failed."""
    return attempt(lambda: probe_candidate(candidate, given), "probing")


def train_part_of_folds(given: SelectionInputs, part: tuple[CandidateResult, tuple[int, ...]]) -> FoldOutputs | str:
    """Train a finalist without each of some folds; the reason if it failed."""
    result, folds = part
    return attempt(lambda: train_in_folds(result, folds, given), "training")


def probed(given: SelectionInputs, candidates: Sequence[Candidate], mapper: Mapper) -> Iterator[CandidateResult | str]:
    """Each candidate's result, or why it failed."""
    reasons = extracted(given, candidates, mapper)
    able = [item for item, reason in zip(candidates, reasons, strict=True) if reason is None]
    outcomes = mapper.map(partial(probe_one, given), able, "probing")
    for reason in reasons:
        yield result_or_reason(next(outcomes), "probing") if reason is None else reason


def trained_in_folds(
    given: SelectionInputs, results: Sequence[CandidateResult], mapper: Mapper
) -> Iterator[CandidateResult | str]:
    """Each result with its scores on every fold, or why that failed; a worker does some of the folds."""
    parts = split_folds(np.unique(given.data.folds).tolist(), mapper.workers)
    items = [(result, part) for result in results for part in parts]
    outcomes = mapper.map(partial(train_part_of_folds, given), items, "training without each fold")
    for result in results:
        found = [result_or_reason(outcome, "training") for outcome in islice(outcomes, len(parts))]
        failed = next((item for item in found if isinstance(item, str)), None)
        outputs = [item for item in found if isinstance(item, FoldOutputs)]
        yield with_scores(result, outputs, given) if failed is None else failed


def extracted(given: SelectionInputs, candidates: Sequence[Candidate], mapper: Mapper) -> list[str | None]:
    """Run the networks over the images in parts, where there are several workers to share that; who failed, and why."""
    count = len(given.data.labels)
    parts = min(mapper.workers, count // LEAST_IMAGES)
    if parts < 2:  # whoever probes will run it
        return [None] * len(candidates)
    ends = np.linspace(0, count, parts + 1).astype(int).tolist()
    items = [(candidate, *place) for candidate in candidates for place in pairwise(ends)]
    outcomes = mapper.map(partial(extract_part, given), items, "running the networks")
    found = []
    for _ in candidates:
        of_parts = [result_or_reason(outcome, "probing") for outcome in islice(outcomes, parts)]
        found.append(next((reason for reason in of_parts if reason is not None), None))
    return found


def split_folds(folds: Sequence[int], count: int) -> list[tuple[int, ...]]:
    """The folds in order, in ``count`` parts as equal as can be, or in as many as there are folds."""
    return [tuple(part.tolist()) for part in np.array_split(np.asarray(folds), min(count, len(folds)))]


def result_or_reason(outcome: Done[T] | Failure, doing: str) -> T | str:
    """A candidate's result, or the reason of its failure; a killed worker is one.

    Raises:
        Exception: an error that affects every candidate.
    """
    if isinstance(outcome, Failure) and outcome.was_killed:
        return f"{doing}: {outcome.error}"
    return value_of(outcome)
