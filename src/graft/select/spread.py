"""What the mapper is given: probing a candidate, and fine-tuning a finalist in some folds; both can be sent.

A candidate's own failure comes back as its reason, in one line; what would befall the next one too is raised.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from graft.features.store import Store
from graft.mapper.base import Done, Failure, Mapper, value_of
from graft.select.candidates import Result, TrainSet, Tuned, finetune_in_folds, probe_candidate, with_tuned
from graft.select.failures import attempt
from graft.settings import Candidate, Params

T = TypeVar("T")


@dataclass(frozen=True)
class Prober:
    """Probes a candidate on these images."""

    data: TrainSet
    params: Params
    sources: Path
    store: Store

    def __call__(self, candidate: Candidate) -> Result | str:
        """See :func:`graft.select.candidates.probe_candidate`."""
        return attempt(lambda: probe_candidate(candidate, self.data, self.params, self.sources, self.store), "probing")


@dataclass(frozen=True)
class Tuner:
    """Fine-tunes a finalist on these images."""

    data: TrainSet
    params: Params
    sources: Path
    store: Store

    def __call__(self, part: tuple[Result, tuple[int, ...]]) -> Tuned | str:
        """See :func:`graft.select.candidates.finetune_in_folds`."""
        result, folds = part
        return attempt(
            lambda: finetune_in_folds(result, folds, self.data, self.params, self.sources, self.store), "fine-tuning"
        )


def tuned_in_folds(tuner: Tuner, results: Sequence[Result], mapper: Mapper) -> Iterator[Result | str]:
    """Each result with its fine-tuning, or why that failed; its folds are divided into a part for each worker."""
    parts = parted(np.unique(tuner.data.folds).tolist(), mapper.workers)
    items = [(result, part) for result in results for part in parts]
    outcomes = mapper.map(tuner, items, "fine-tuning in every fold")
    for result in results:
        found = [own(next(outcomes), "fine-tuning") for _ in parts]
        failed = next((item for item in found if isinstance(item, str)), None)
        tuned = [item for item in found if isinstance(item, Tuned)]
        yield with_tuned(result, tuned, tuner.data) if failed is None else failed


def parted(folds: Sequence[int], count: int) -> list[tuple[int, ...]]:
    """The folds in order, in ``count`` parts as equal as can be, or in as many as there are folds."""
    return [tuple(part.tolist()) for part in np.array_split(np.asarray(folds), min(count, len(folds)))]


def own(outcome: Done[T | str] | Failure, doing: str) -> T | str:
    """What came of a candidate: its result, or its own failure as a reason; one that killed its worker is that too.

    Raises:
        Exception: what would befall the next one as well.
    """
    if isinstance(outcome, Failure) and outcome.was_killed:
        return f"{doing}: {outcome.error}"
    return value_of(outcome)
