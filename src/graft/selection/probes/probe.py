"""Linear probes on cached features, cross-validated on the shared folds, at every depth of a backbone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.settings import Rule
from graft.metrics.scorer import ACCURACY, Scorer
from graft.selection.best import best_depth, standard_error
from graft.selection.probes.cross_validation import CrossValidated, CrossValidation
from graft.selection.probes.input_checks import require_usable
from graft.selection.probes.nested_folds import nested_folds
from graft.tasks.base import LinearHead

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Features = NDArray[np.float32]


@dataclass(frozen=True)
class ProbeResult:
    """The scores of a candidate's probes.

    Attributes:
        depth: index of the block it is to be cut after.
        fold_scores: score per fold, by the metric that was asked for. With ``depth: auto`` the depth is chosen anew
            inside each fold's training part, so that choosing it does not flatter the score.
        curve: mean score over folds at each depth, first block first; for looking at, and for the final depth.
        curve_errors: standard error of each mean of the curve.
        fold_depths: the depth that ``fold_scores`` are of, in each fold.
        inner_scores: score by the metric on the inner folds of each fold's training part, at that depth;
            :func:`best_probe` chooses by it.
    """

    depth: int
    fold_scores: tuple[float, ...]
    curve: tuple[float, ...]
    curve_errors: tuple[float, ...] = ()
    fold_depths: tuple[int, ...] = ()
    inner_scores: tuple[float, ...] = ()

    @property
    def mean(self) -> float:
        """Mean score over the folds."""
        return float(np.mean(self.fold_scores))


@dataclass(frozen=True)
class LinearProbe:
    """A linear head, and the images and folds that features are probed on.

    Attributes:
        labels: as the task encodes them (n).
        folds: fold of each image (n), near duplicates in the same one.
        head: what is fitted.
        outputs: how many it has.
        groups: near duplicates (n); needed for two folds only.
        seed: cuts the inner folds where there are two folds only.
        scorer: the metric; one of probabilities needs a head that gives them.
        rule: see :func:`graft.selection.best.best_depth`.
    """

    labels: NDArray[Any]
    folds: NDArray[np.int64]
    head: LinearHead
    outputs: int
    groups: NDArray[Any] | None = None
    seed: int = 0
    scorer: Scorer = ACCURACY
    rule: Rule = "accurate"

    def best_depth(self, depths: Sequence[Features]) -> ProbeResult:
        """Probe every depth and choose one; the score is that of the whole procedure, choice included.

        In each fold the depth is the one that ``rule`` takes on the folds inside the training part, where earlier is
        cheaper, and that depth's score on the fold, which had no say, is the score. The depth to use is then chosen in
        the same way on all folds.

        Args:
            depths: features (n, d) of each block, first block first.

        Raises:
            TrainingError: features that are not finite, naming the depth; one class; one fold.
        """
        found = self._every_depth(depths)
        chosen = [best_depth(self.rule, [depth.inner[fold] for depth in found]) for fold in range(len(found[0].outer))]
        return self._probe(found, best_depth(self.rule, [depth.outer for depth in found]), chosen)

    def at_depth(self, depths: Sequence[Features], depth: int) -> ProbeResult:
        """Probe every depth for the curve, and score the given one; errors as of :meth:`best_depth`."""
        found = self._every_depth(depths)
        return self._probe(found, depth, [depth] * len(found[depth].outer))

    def fold_scores(self, features: Features) -> tuple[float, ...]:
        """Score on each fold of a head fitted on the others; errors as of :meth:`best_depth`."""
        return self._every_depth([features])[0].outer

    def _every_depth(self, depths: Sequence[Features]) -> list[CrossValidated]:
        for depth, features in enumerate(depths):
            require_usable(features, self.labels, where=f"depth {depth} of {len(depths) - 1}")
        folds = nested_folds(self.labels, self.folds, self.seed, self.groups)
        return [
            CrossValidation(self.head, features, self.labels, self.outputs, folds, self.scorer).run()
            for features in depths
        ]

    def _probe(self, found: Sequence[CrossValidated], depth: int, chosen: Sequence[int]) -> ProbeResult:
        """``chosen``: the depth in each fold."""
        return ProbeResult(
            depth,
            tuple(found[place].outer[fold] for fold, place in enumerate(chosen)),
            tuple(float(np.mean(one.outer)) for one in found),
            tuple(standard_error(one.outer) for one in found),
            tuple(chosen),
            tuple(float(np.mean(found[place].inner[fold])) for fold, place in enumerate(chosen)),
        )


def best_probe(probes: Sequence[ProbeResult]) -> tuple[int, ProbeResult]:
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
