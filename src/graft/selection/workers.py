"""What the mapper is given: a candidate's pass over images, its probe, a finalist's folds; all of it can be sent.

A candidate's own failure comes back as its reason, in one line; what would befall the next one too is raised.

The pass comes first, in parts: it is most of the work, and three candidates would leave the second of two workers
without anything to do for a third of the time. Its rows are kept, and are the same whatever part they were made in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np

from graft.core.settings import Candidate, Params
from graft.features.cache import Store
from graft.parallel.mapper import Mapper
from graft.parallel.outcomes import Done, Failure, value_of
from graft.selection.candidates import FoldOutputs, Result, TrainSet, keep_features, probe_candidate, with_scores
from graft.selection.failures import attempt
from graft.selection.finalists import SelectionInputs, keep_features_at, train_in_folds

T = TypeVar("T")

# Images of which a part of a pass is worth sending: to build the network takes as long as some of them.
LEAST_IMAGES = 64
# What is run over a part of the images, from one place to another: a candidate's network, or a finalist's.
Part = tuple[Candidate | Result, int, int]


class Passer(SelectionInputs):
    """Runs a network over some of the images; what it gives is kept in the cache."""

    def __call__(self, part: Part) -> str | None:
        """None, or why it failed."""
        subject, start, stop = part
        rows = slice(start, stop)
        if isinstance(subject, Result):
            return attempt(lambda: keep_features_at(subject, rows, self), "training")
        return attempt(lambda: keep_features(subject, rows, *_parts(self)), "probing")


class Prober(SelectionInputs):
    """Probes a candidate."""

    def __call__(self, candidate: Candidate) -> Result | str:
        """See :func:`graft.selection.candidates.probe_candidate`."""
        return attempt(lambda: probe_candidate(candidate, *_parts(self)), "probing")


class FoldTrainer(SelectionInputs):
    """Trains a finalist without some folds."""

    def __call__(self, part: tuple[Result, tuple[int, ...]]) -> FoldOutputs | str:
        """See :func:`graft.selection.finalists.train_in_folds`."""
        result, folds = part
        return attempt(lambda: train_in_folds(result, folds, self), "training")


def probed(given: SelectionInputs, candidates: Sequence[Candidate], mapper: Mapper) -> Iterator[Result | str]:
    """Each candidate's result, or why it failed."""
    fallen = passed(given, candidates, mapper)
    able = [item for item, reason in zip(candidates, fallen, strict=True) if reason is None]
    outcomes = mapper.map(Prober(*_parts(given)), able, "probing")
    for reason in fallen:
        yield own(next(outcomes), "probing") if reason is None else reason


def trained_in_folds(given: SelectionInputs, results: Sequence[Result], mapper: Mapper) -> Iterator[Result | str]:
    """Each result with its scores on every fold, or why that failed; a worker does some of the folds."""
    fallen = passed(given, results, mapper)
    parts = divided(np.unique(given.data.folds).tolist(), mapper.workers)
    able = [item for item, reason in zip(results, fallen, strict=True) if reason is None]
    items = [(result, part) for result in able for part in parts]
    outcomes = mapper.map(FoldTrainer(*_parts(given)), items, "training without each fold")
    for result, reason in zip(results, fallen, strict=True):
        if reason is not None:
            yield reason
            continue
        found = [own(outcome, "training") for outcome in islice(outcomes, len(parts))]
        failed = next((item for item in found if isinstance(item, str)), None)
        outputs = [item for item in found if isinstance(item, FoldOutputs)]
        yield with_scores(result, outputs, given.data, given.params) if failed is None else failed


def passed(given: SelectionInputs, subjects: Sequence[Candidate | Result], mapper: Mapper) -> list[str | None]:
    """Run the networks over the images in parts, where there are several workers to share that; who failed, and why."""
    count = len(given.data.labels)
    parts = min(mapper.workers, count // LEAST_IMAGES)
    if parts < 2:  # whoever probes or trains will run it
        return [None] * len(subjects)
    ends = np.linspace(0, count, parts + 1).astype(int).tolist()
    items = [(subject, *place) for subject in subjects for place in pairwise(ends)]
    outcomes = mapper.map(Passer(*_parts(given)), items, "running the networks")
    found = []
    for subject in subjects:
        doing = "training" if isinstance(subject, Result) else "probing"
        reasons = [own(outcome, doing) for outcome in islice(outcomes, parts)]
        found.append(next((reason for reason in reasons if reason is not None), None))
    return found


def divided(folds: Sequence[int], count: int) -> list[tuple[int, ...]]:
    """The folds in order, in ``count`` parts as equal as can be, or in as many as there are folds."""
    return [tuple(part.tolist()) for part in np.array_split(np.asarray(folds), min(count, len(folds)))]


def own(outcome: Done[T] | Failure, doing: str) -> T | str:
    """What came of a candidate: its result, or its own failure as a reason; one that killed its worker is that too.

    Raises:
        Exception: what would befall the next one as well.
    """
    if isinstance(outcome, Failure) and outcome.was_killed:
        return f"{doing}: {outcome.error}"
    return value_of(outcome)


def _parts(given: SelectionInputs) -> tuple[TrainSet, Params, Path, Store]:
    return given.data, given.params, given.sources, given.store
