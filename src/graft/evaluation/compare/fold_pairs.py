"""Transfer against its control, both trained again in every fold with several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.stats.corrected_ttest import corrected_interval

if TYPE_CHECKING:
    from graft.stats.bootstrap import Interval

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


@dataclass(frozen=True)
class FoldComparison:
    """Mean accuracy of the transferred models minus that of the controls, in [-1, 1], with its corrected interval."""

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


def compare_over_folds(pairs: Sequence[FoldPair]) -> FoldComparison | None:
    """The mean difference over folds and seeds with its interval; None for fewer than two pairs."""
    if len(pairs) < 2:
        return None
    share = sum(pair.test_images for pair in pairs) / sum(pair.train_images for pair in pairs)
    differences = [pair.transfer - pair.scratch for pair in pairs]
    return FoldComparison(
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
