"""Cross-validation of a linear head on one depth's features: strength chosen inside each fold's training part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.metrics.scorer import ACCURACY, Scorer
from graft.selection.nested_folds import Cells, nest
from graft.selection.probes.blas import Threads
from graft.selection.probes.heads import Head, head_kind
from graft.selection.probes.input_checks import require_usable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.selection.nested_folds import Nest


@dataclass(frozen=True)
class CrossValidated:
    """What one head on one depth gave.

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


def cross_validated(
    head: Head, labels: NDArray[np.int64], nested: Nest, classes: int, scorer: Scorer = ACCURACY
) -> CrossValidated:
    """Score ``head`` on every outer fold of ``nested``; labels (n) in 0..classes-1."""
    chosen, inner = _inside(head, labels, nested, scorer)
    scores = np.empty((len(labels), classes))
    outer = []
    for fold, held in enumerate(nested.outer):
        tested = nested.rows(held)
        scores[tested] = head.scores(held, (head.strengths[chosen[fold]],))[0]
        outer.append(scorer(labels[tested], scores[tested]))
    return CrossValidated(tuple(outer), inner, tuple(head.strengths[place] for place in chosen), scores)


def _inside(
    head: Head, labels: NDArray[np.int64], nested: Nest, scorer: Scorer
) -> tuple[tuple[int, ...], tuple[tuple[float, ...], ...]]:
    """For each outer fold, the place of the strength of least loss over its inner folds, and its score on each.

    What is held out of an inner fit is the outer fold and the inner one; with three folds or more both orders hold out
    the same images, so that one fit serves two outer folds.
    """
    uses: dict[Cells, list[tuple[int, Cells]]] = defaultdict(list)
    for fold, held in enumerate(nested.outer):
        for part in nested.inner(fold):
            uses[held | part].append((fold, part))
    losses = [np.zeros(len(head.strengths)) for _ in nested.outer]
    scored: list[dict[Cells, list[float]]] = [{} for _ in nested.outer]
    for held, users in uses.items():
        rows = nested.rows(held)
        scores = head.scores(held, head.strengths)
        for fold, part in users:
            tested = nested.rows(part)
            found = scores[:, tested[rows]]
            losses[fold] += head.losses(found, labels[tested])
            scored[fold][part] = [scorer(labels[tested], one) for one in found]
    chosen = tuple(int(np.argmin(loss)) for loss in losses)
    return chosen, tuple(
        tuple(scored[fold][part][chosen[fold]] for part in nested.inner(fold)) for fold in range(len(nested.outer))
    )


def each_cross_validated(
    many: Sequence[NDArray[Any]], labels: NDArray[np.int64], nested: Nest, head: str, scorer: Scorer = ACCURACY
) -> list[CrossValidated]:
    """Cross-validate the head called ``head`` on each of several features (n, d); labels (n), class indices."""
    kind, classes, threads = head_kind(head), int(labels.max()) + 1, Threads()
    found = []
    for features in many:
        with threads.for_work(float(features.size) * min(features.shape)):
            ready = kind.make(features, labels, classes, nested)
            found.append(cross_validated(ready, labels, nested, classes, scorer))
    return found


def out_of_fold_probabilities(
    features: NDArray[Any],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    seed: int = 0,
    groups: NDArray[Any] | None = None,
) -> NDArray[np.float64]:
    """Class probabilities (n, k) of each image by a logistic head that has seen no image of its fold.

    Scaler and strength of the penalty are fitted and chosen in the other folds. k is the highest label and one; a
    class that the other folds have no image of has probability 0. Rows sum to one.

    Args:
        features: (n, d), finite.
        labels: class indices (n).
        folds: fold of each image (n).
        seed: cuts the inner folds where there are two folds only.
        groups: near duplicates (n), for the same.

    Raises:
        TrainingError: features that are not finite, one class, one fold.
    """
    require_usable(features, labels)
    classes, nested = int(labels.max()) + 1, nest(labels, folds, seed, groups)
    head = head_kind("logistic").make(features, labels, classes, nested)
    return cross_validated(head, labels, nested, classes).scores
