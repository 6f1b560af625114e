"""The corrected resampled t-test for differences over cross-validation folds.

Differences between folds are not independent, because any two training parts share most of their images, and repeated
seeds share all of them. Nadeau and Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003, put the
variance of the mean at

    (1 / J + n_test / n_train) * s^2

with J differences of sample variance s^2; for repeated cross-validation that is the test of Bouckaert and Frank,
"Evaluating the Replicability of Significance Tests for Comparing Learning Algorithms", PAKDD 2004, with J - 1 degrees
of freedom. However many seeds are added, the second term stays: more seeds do not make more images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graft.stats.bootstrap import LEVEL, Interval


def corrected_interval(differences: Sequence[float], test_to_train: float, most: float = 1.0) -> Interval:
    """The corrected 95% interval of the mean, clipped to [-most, most].

    Args:
        differences: J values, at least two.
        test_to_train: images scored on over images trained on, in (0, inf).
        most: the greatest possible difference, infinite for losses.
    """
    from scipy.stats import t

    reach = float(t.ppf((1 + LEVEL) / 2, len(differences) - 1) * corrected_error(differences, test_to_train))
    mean = float(np.mean(differences))
    return Interval(max(-most, mean - reach), min(most, mean + reach), "corrected resampled t")


def corrected_error(differences: Sequence[float], test_to_train: float) -> float:
    """The corrected standard error of the mean difference, for differences of any unit; else as above."""
    count = len(differences)
    if count < 2:
        raise ValueError("one difference has no spread")
    return float(np.sqrt((1 / count + test_to_train) * np.var(differences, ddof=1)))
