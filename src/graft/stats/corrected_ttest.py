"""Two models trained again in every fold, with several seeds: the mean difference and an interval that minds overlap.

Differences between folds are not independent, because any two training parts share most of their images, and repeated
seeds share all of them. The usual t interval takes them for independent and is far too narrow. Nadeau and Bengio,
"Inference for the Generalization Error", Machine Learning 52, 2003, put the variance of the mean at

    (1 / J + n_test / n_train) * s^2

with J differences of sample variance s^2; for repeated cross-validation that is the test of Bouckaert and Frank,
"Evaluating the Replicability of Significance Tests for Comparing Learning Algorithms", PAKDD 2004, with J - 1 degrees
of freedom. However many seeds are added, the second term stays: more seeds do not make more images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graft.stats.intervals import LEVEL, Interval

# The table that the finetune stage leaves in reports/training.
PAIRS_FILE = "fold_pairs.csv"


@dataclass(frozen=True)
class FoldPair:
    """Transfer and control, trained with one seed on the same images and scored on the same fold.

    Attributes:
        seed: which of the seeds, counted from 0.
        fold: the fold that both are scored on.
        train_images: images that both were trained on.
        test_images: images of the fold.
        transfer: accuracy of the transferred model on the fold, in [0, 1].
        scratch: accuracy of the control.
    """

    seed: int
    fold: int
    train_images: int
    test_images: int
    transfer: float
    scratch: float

    @property
    def difference(self) -> float:
        """Accuracy of the transferred model minus that of the control, in [-1, 1]."""
        return self.transfer - self.scratch


@dataclass(frozen=True)
class Repeated:
    """The finding over folds and seeds.

    Attributes:
        difference: mean accuracy of the transferred model minus that of the control, in [-1, 1].
        interval: its corrected 95% interval.
        seeds: number of seeds.
        folds: number of folds.
    """

    difference: float
    interval: Interval
    seeds: int
    folds: int

    def to_json(self) -> dict[str, Any]:
        """As metrics.json has it."""
        return {
            "difference": self.difference,
            "difference_ci95": self.interval.pair(),
            "better": {1: "transferred", -1: "control", 0: "undecided"}[self.interval.sign],
            "seeds": self.seeds,
            "folds": self.folds,
        }


def corrected_interval(differences: Sequence[float], test_to_train: float, most: float = 1.0) -> Interval:
    """The corrected resampled t interval of the mean, clipped to [-most, most].

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


def over_folds(pairs: Sequence[FoldPair]) -> Repeated | None:
    """The mean difference over folds and seeds with its interval; None for fewer than two pairs."""
    if len(pairs) < 2:
        return None
    share = sum(pair.test_images for pair in pairs) / sum(pair.train_images for pair in pairs)
    differences = [pair.difference for pair in pairs]
    return Repeated(
        difference=float(np.mean(differences)),
        interval=corrected_interval(differences, share),
        seeds=len({pair.seed for pair in pairs}),
        folds=len({pair.fold for pair in pairs}),
    )


def read_pairs(path: Path) -> tuple[FoldPair, ...]:
    """The pairs of a table; none where there is no file."""
    import pandas as pd

    if not path.exists():
        return ()
    rows = pd.read_csv(path).to_dict("records")
    return tuple(FoldPair(**{str(name): value for name, value in row.items()}) for row in rows)
