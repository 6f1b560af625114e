"""Which depth of a backbone to take, and how sure its scores are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ROUNDING = 1e-12  # means of the same scores in another order may differ by this


def standard_error(scores: Sequence[float]) -> float:
    """Standard error of the mean of fold scores: sample deviation over the root of their number; 0 for one score."""
    return float(np.std(scores, ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else 0.0


def earliest_best(scores: Sequence[Sequence[float]]) -> int:
    """The earliest depth within one standard error of the best one; ``scores`` per depth, per fold.

    The rule of one standard error (L. Breiman and others, Classification and Regression Trees, 1984, section 3.4.3)
    with earlier, which is smaller and faster, in the place of simpler. Where all scores are equal it is the first.
    """
    means = [float(np.mean(row)) for row in scores]
    best = int(np.argmax(means))
    bar = means[best] - standard_error(scores[best]) - ROUNDING
    return next(depth for depth, mean in enumerate(means) if mean >= bar)
