"""Choice among several that were scored on the same folds: candidates, or the depths of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graft.core.settings import Rule
from graft.metrics.scorer import ACCURACY, Scorer
from graft.stats.corrected_ttest import corrected_interval


@dataclass(frozen=True)
class Criterion:
    """What candidates are chosen by: the metric, as something to maximise, and the rule."""

    scorer: Scorer = ACCURACY
    rule: Rule = "accurate"


DEFAULT = Criterion()


def standard_error(scores: Sequence[float]) -> float:
    """Standard error of the mean of fold scores: sample deviation over the root of their number; 0 for one score."""
    return float(np.std(scores, ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else 0.0


def may_be_chance(better: Sequence[float], other: Sequence[float]) -> bool:
    """Whether the mean difference of two scores by fold may be nothing but chance.

    It may where the paired, corrected 95% interval of :mod:`graft.stats.corrected_ttest` holds zero. Both are scored on
    every fold, so that an easy fold is easy for both and cancels; and the folds' training parts overlap, so that the
    error of independent scores would be too small. One fold shows nothing, nor do scores
    that are not of the same folds: of a finalist that was not trained without some, as the time was up.
    """
    if len(better) < 2 or len(better) != len(other):
        return True
    differences = np.subtract(better, other).tolist()
    return corrected_interval(differences, 1 / (len(differences) - 1)).sign <= 0


def best_by(rule: Rule, scores: Sequence[Sequence[float]]) -> int:
    """Index of the row of ``scores`` to take; a row has a score per fold, and rows are sorted by cost, cheapest first.

    ``accurate`` takes the best mean, of equals the cheapest. ``cheap`` takes the cheapest whose difference to the best
    mean may be chance. Few images make nearly every difference one that may be: over depths of EfficientNet-Lite0, 6 to
    20 images a class of four data sets, eight draws each, ``cheap`` lost 1.7 to 16.1 points on new images to
    ``accurate``, and the rule of one unpaired standard error (Breiman and others, Classification and Regression Trees,
    1984) up to 2.8, with 0.1 gained once. So ``accurate`` is the default.
    """
    best = int(np.argmax([float(np.mean(row)) for row in scores]))
    if rule == "accurate":
        return best
    return next(place for place, row in enumerate(scores) if may_be_chance(scores[best], row))


def best_depth(rule: Rule, scores: Sequence[Sequence[float]]) -> int:
    """Index of the depth to cut at; a row of ``scores`` has a depth's score per fold, first block first.

    Each depth's scores are averaged with those of its neighbours (1/4, 1/2, 1/4; at the ends with its own) before
    :func:`best_by` takes one. A depth that is good like its neighbours is less often so by chance than a peak by
    itself: over 17 sets of 5 to 50 images a class (EfficientNet-Lite0, 6 to 12 draws each) this gains 0.3 points on new
    images (-0.7 to +1.4), where the best depth in hindsight would gain 1.0.
    """
    rows = np.asarray(scores, dtype=np.float64)
    padded = np.concatenate([rows[:1], rows, rows[-1:]])
    return best_by(rule, ((padded[:-2] + 2 * rows + padded[2:]) / 4).tolist())
