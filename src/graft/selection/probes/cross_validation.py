"""Nested cross-validation of a linear head on one depth's features: strength chosen inside each training part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.metrics.scorer import ACCURACY, Scorer
from graft.selection.probes.nested_folds import FoldIds, NestedFolds
from graft.tasks.base import LinearHead

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Below this many multiplications in the largest step, threads of linear algebra wait for each other: up to 50 times as
# long as one thread takes where other work goes on beside it.
SMALL_WORK = 5e9


@dataclass(frozen=True)
class CrossValidated:
    """Scores of one head on one depth.

    Attributes:
        outer: score on each outer fold, fitted on the others at a strength chosen among these alone.
        inner: for each outer fold, scores on the folds inside its training part, at that strength.
        strengths: the strength chosen for each outer fold.
        scores: of each image when its fold is held out, (n, k).
    """

    outer: tuple[float, ...]
    inner: tuple[tuple[float, ...], ...]
    strengths: tuple[float, ...]
    scores: NDArray[np.float64]


@dataclass(frozen=True)
class CrossValidation:
    """A head of k outputs on features (n, d) with labels (n), to be scored on nested folds."""

    head: LinearHead
    features: NDArray[Any]
    labels: NDArray[Any]
    outputs: int
    folds: NestedFolds
    scorer: Scorer = ACCURACY

    def run(self) -> CrossValidated:
        """Score on every outer fold."""
        with limited_threads(self.features):
            return self._run()

    def _run(self) -> CrossValidated:
        chosen, inner = self._inside()
        strengths = tuple(self.head.strengths[place] for place in chosen)
        scores = np.empty((len(self.labels), self.outputs))
        outer = []
        for held, strength in zip(self.folds.outer, strengths, strict=True):
            tested = self.folds.rows(held)
            scores[tested] = self._fit(held, (strength,))[0]
            outer.append(self.scorer(self.labels[tested], scores[tested]))
        return CrossValidated(tuple(outer), inner, strengths, scores)

    def _fit(self, held: FoldIds, strengths: Sequence[float]) -> NDArray[np.float64]:
        """Scores (s, rows of ``held``, k) by heads fitted to all other rows, standardised by these."""
        from sklearn.preprocessing import StandardScaler

        tested = self.folds.rows(held)
        scaler = StandardScaler().fit(self.features[~tested].astype(np.float64))
        train, rows = (scaler.transform(self.features[part].astype(np.float64)) for part in (~tested, tested))
        return self.head.scores(train, self.labels[~tested], rows, strengths, self.outputs)

    def _inside(self) -> tuple[tuple[int, ...], tuple[tuple[float, ...], ...]]:
        """For each outer fold, the place of the strength of least loss over its inner folds, and its score on each.

        With three folds or more one fit without folds f and g is an inner fit of both outer folds.
        """
        uses: dict[FoldIds, list[tuple[int, FoldIds]]] = defaultdict(list)
        for fold, held in enumerate(self.folds.outer):
            for part in self.folds.inner(fold):
                uses[held | part].append((fold, part))
        losses = np.zeros((len(self.folds.outer), len(self.head.strengths)))
        scored: list[dict[FoldIds, list[float]]] = [{} for _ in self.folds.outer]
        for held, users in uses.items():
            rows, scores = self.folds.rows(held), self._fit(held, self.head.strengths)
            for fold, part in users:
                tested = self.folds.rows(part)
                found, labels = scores[:, tested[rows]], self.labels[tested]
                losses[fold] += [self.head.loss(one, labels) for one in found]
                scored[fold][part] = [self.scorer(labels, one) for one in found]
        chosen = tuple(losses.argmin(axis=1).tolist())
        return chosen, tuple(
            tuple(scored[fold][part][place] for part in self.folds.inner(fold)) for fold, place in enumerate(chosen)
        )


def limited_threads(features: NDArray[Any]) -> AbstractContextManager[object]:
    """One thread of linear algebra for small features (n, d), all for large ones."""
    import scipy.linalg  # noqa: F401  # loads a library of its own, which would else be missed
    from threadpoolctl import threadpool_limits

    small = float(features.size) * min(features.shape) < SMALL_WORK
    limit: AbstractContextManager[object] = threadpool_limits(1 if small else None)
    return limit
