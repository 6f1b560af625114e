"""Training images for the label curve: the same few of each class for the model and its control."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from graft.core.determinism import derive_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.selection.candidate_training import CandidateTrainer

    Rows = NDArray[np.bool_]


def subsets(trainer: CandidateTrainer) -> Iterator[tuple[int, Rows | None]]:
    """Each count of ``train.label_counts`` once, with the images; None where a class has no more than that."""
    for count in dict.fromkeys(trainer.settings.label_counts):
        yield count, fewer_labels(trainer, count)


def fewer_labels(trainer: CandidateTrainer, count: int) -> Rows | None:
    """``count`` images of each class, bool (n); None where a class has no more than that."""
    data = trainer.data
    random = np.random.default_rng(derive_seed(trainer.seed, "labels"))
    some = np.zeros(len(data.labels), dtype=bool)
    for label in range(len(data.classes)):
        of_class = np.flatnonzero(data.labels == label)
        if len(of_class) <= count:
            return None
        # The same order for every count, so that the smaller sets are parts of the larger ones.
        some[random.permutation(of_class)[:count]] = True
    return some
