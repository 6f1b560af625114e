"""Linear probes on cached features, cross-validated on the shared folds, at every depth of a backbone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.settings import Rule
from graft.metrics.scorer import ACCURACY, Scorer
from graft.selection.best import best_by, standard_error
from graft.selection.nested_folds import nest
from graft.selection.probes.cross_validation import CrossValidated, each_cross_validated
from graft.selection.probes.heads import head_kind
from graft.selection.probes.input_checks import require_usable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Features = NDArray[np.float32]
    Labels = NDArray[np.int64]
    Folds = NDArray[np.int64]
    Groups = NDArray[Any]

__all__ = ["Probe", "fold_scores", "probe_at", "probe_auto", "standard_error"]

HEAD = "ridge"


@dataclass(frozen=True)
class Probe:
    """What probing one candidate gave.

    Attributes:
        depth: index of the block it is to be cut after.
        fold_scores: score per fold, by the metric that was asked for. With ``depth: auto`` the depth is chosen anew
            inside each fold's training part, so that choosing it does not flatter the score.
        curve: mean score over folds at each depth, first block first; for looking at, and for the final depth.
        curve_errors: standard error of each mean of the curve.
        fold_depths: the depth that ``fold_scores`` are of, in each fold.
        inner_scores: accuracy on the folds inside each fold's training part at that depth, by which to choose further.
        predicted: out-of-fold class index of each image at ``depth``, (n).
        probabilities: out-of-fold probabilities at ``depth``, (n, k); None where the head has scores only, as the
            ridge: :func:`graft.selection.probes.cross_validation.out_of_fold_probabilities` gives them for any
            features.
    """

    depth: int
    fold_scores: tuple[float, ...]
    curve: tuple[float, ...]
    curve_errors: tuple[float, ...] = ()
    fold_depths: tuple[int, ...] = ()
    inner_scores: tuple[float, ...] = ()
    predicted: NDArray[np.int64] | None = field(default=None, compare=False, repr=False)
    probabilities: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)

    @property
    def mean(self) -> float:
        """Mean score over the folds."""
        return float(np.mean(self.fold_scores))


def probe_auto(
    depths: Sequence[Features],
    labels: Labels,
    folds: Folds,
    seed: int,
    head: str = HEAD,
    groups: Groups | None = None,
    scorer: Scorer = ACCURACY,
    rule: Rule = "accurate",
) -> Probe:
    """Probe every depth and choose one; the score is that of the whole procedure, choice included.

    In each fold the depth is the one that ``rule`` takes on the folds inside the training part, where earlier is
    cheaper, and that depth's score on the fold, which had no say, is the score. The depth to use is then chosen in the
    same way on all folds.

    Args:
        depths: features (n, d) of each block, first block first.
        labels: class indices (n).
        folds: fold of each image (n), near duplicates in the same one.
        seed: cuts the inner folds where there are two folds only.
        head: a row of :data:`graft.selection.probes.heads.HEADS`.
        groups: near duplicates (n); needed for two folds only.
        scorer: what is scored; one of probabilities needs a head that gives them.
        rule: see :func:`graft.selection.best.best_by`.

    Raises:
        TrainingError: features that are not finite, naming the depth; one class; one fold.
        ConfigError: no such head.
    """
    found = _every_depth(depths, labels, folds, seed, head, groups, scorer)
    chosen = [best_by(rule, [depth.inner[fold] for depth in found]) for fold in range(len(found[0].outer))]
    scores = tuple(found[depth].outer[fold] for fold, depth in enumerate(chosen))
    return _probe(found, best_by(rule, [depth.outer for depth in found]), scores, tuple(chosen), head)


def probe_at(
    depths: Sequence[Features],
    labels: Labels,
    folds: Folds,
    depth: int,
    seed: int = 0,
    head: str = HEAD,
    groups: Groups | None = None,
    scorer: Scorer = ACCURACY,
) -> Probe:
    """Probe every depth for the curve, and score the given one; arguments and errors as of :func:`probe_auto`."""
    found = _every_depth(depths, labels, folds, seed, head, groups, scorer)
    scores = found[depth].outer
    return _probe(found, depth, scores, (depth,) * len(scores), head)


def best_of(probes: Sequence[Probe]) -> tuple[int, Probe]:
    """The best of several probes of the same images, such as one for each way of fitting them, and its place.

    Its score is that of the whole procedure: in each fold that of the probe which is best inside the training part.
    Of equals it is the first.
    """
    if len(probes) == 1:
        return 0, probes[0]
    inside = np.array([probe.inner_scores for probe in probes]).argmax(axis=0)
    scores = tuple(probes[place].fold_scores[fold] for fold, place in enumerate(inside.tolist()))
    best = int(np.argmax([probe.mean for probe in probes]))
    return best, dataclasses.replace(probes[best], fold_scores=scores)


def fold_scores(
    features: Features,
    labels: Labels,
    folds: Folds,
    seed: int = 0,
    head: str = HEAD,
    groups: Groups | None = None,
    scorer: Scorer = ACCURACY,
) -> list[float]:
    """Score of a linear head on each fold, fitted on the others; arguments and errors as of :func:`probe_auto`."""
    return list(_every_depth([features], labels, folds, seed, head, groups, scorer)[0].outer)


def _every_depth(
    depths: Sequence[Features],
    labels: Labels,
    folds: Folds,
    seed: int,
    head: str,
    groups: Groups | None,
    scorer: Scorer,
) -> list[CrossValidated]:
    for depth, features in enumerate(depths):
        require_usable(features, labels, where=f"depth {depth} of {len(depths) - 1}")
    return each_cross_validated(depths, labels, nest(labels, folds, seed, groups), head, scorer)


def _probe(
    found: Sequence[CrossValidated], depth: int, scores: tuple[float, ...], chosen: tuple[int, ...], head: str
) -> Probe:
    return Probe(
        depth,
        scores,
        tuple(float(np.mean(one.outer)) for one in found),
        tuple(standard_error(one.outer) for one in found),
        chosen,
        tuple(float(np.mean(found[place].inner[fold])) for fold, place in enumerate(chosen)),
        found[depth].scores.argmax(axis=1),
        found[depth].scores if head_kind(head).gives_probabilities else None,
    )
