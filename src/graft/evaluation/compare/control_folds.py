"""The delivered strategy against the control on the folds of the training images that both were trained without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.selection.out_of_fold import LOGIT
from graft.stats.corrected_ttest import corrected_interval

if TYPE_CHECKING:
    from graft.stats.bootstrap import Interval

# Which controls the stage `control` trained, in models/controls.
CONTROLS_FILE = "controls.json"
# The table that the stage `control` leaves in models/controls.
FOLDS_FILE = "fold_scores.csv"


@dataclass(frozen=True)
class FoldPair:
    """Transfer and control, trained on the same images and scored on the same fold.

    Attributes:
        seed: which of the control's seeds, counted from 0.
        fold: the fold that both are scored on.
        train_images: images that both were trained on.
        test_images: images of the fold.
        transfer: accuracy of the delivered strategy on the fold, in [0, 1].
        control: accuracy of the control.
    """

    seed: int
    fold: int
    train_images: int
    test_images: int
    transfer: float
    control: float


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
    differences = [pair.transfer - pair.control for pair in pairs]
    return FoldComparison(
        difference=float(np.mean(differences)),
        interval=corrected_interval(differences, share),
        seeds=len({pair.seed for pair in pairs}),
        folds=len({pair.fold for pair in pairs}),
    )


def read_pairs(controls: Path, transfer: Mapping[int, float]) -> tuple[FoldPair, ...]:
    """The pairs of each row of the control's table; none where there is no table.

    Args:
        controls: the folder models/controls.
        transfer: accuracy of the delivered strategy by fold, see :func:`accuracy_by_fold`.
    """
    import pandas as pd

    path = controls / FOLDS_FILE
    if not path.exists():
        return ()
    rows = pd.read_csv(path).to_dict("records")
    return tuple(
        FoldPair(**{str(name): value for name, value in row.items()}, transfer=transfer[row["fold"]])
        for row in rows
        if row["fold"] in transfer
    )


def accuracy_by_fold(table: Path, strategy: str) -> dict[int, float]:
    """The accuracy on each fold by networks of a strategy, of a table of :mod:`graft.selection.out_of_fold`."""
    import pandas as pd

    rows = pd.read_parquet(table)
    rows = rows[rows["strategy"] == strategy]
    names = [str(name) for name in rows if str(name).startswith(LOGIT)]
    said = np.array([name.removeprefix(LOGIT) for name in names])[rows[names].to_numpy().argmax(axis=1)]
    right, folds = said == rows["label"].astype(str).to_numpy(), rows["fold"].to_numpy()
    return {int(fold): float(right[folds == fold].mean()) for fold in np.unique(folds)}
