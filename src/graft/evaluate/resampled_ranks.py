"""ROC AUC and average precision of every resample at once, without sorting any resample.

A resample only changes how often each image counts, never the order of the images. Of the others an image of the
class needs to know no more than how many lie below it and how many tie with it. So the images that are not of the class
are counted between one image of the class and the next, which a sparse product does for all resamples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Entries of one sparse matrix: 24 MB of them, however many classes there are.
_ENTRIES = 1_000_000


@dataclass(frozen=True)
class Places:
    """Where the images of one class and the others lie, by the class's probability.

    With J distinct probabilities v_0 < ... < v_{J-1} of the class's own images, ``others`` has 2J + 1 columns: those
    below v_0, equal to it, between v_0 and v_1, ..., above v_{J-1}; ``own`` has the J columns of the values.

    Attributes:
        own: column of each of the class's images, counted from 0.
        others: column of each other image.
        steps: J.
    """

    own: NDArray[np.intp]
    others: NDArray[np.intp]
    steps: int

    @classmethod
    def of(cls, truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> Places:
        """From which images are of the class, (n,), and its probabilities, (n,)."""
        values, own = np.unique(scores[truth], return_inverse=True)
        rest = scores[~truth]
        place = np.searchsorted(values, rest, side="left")
        ties = values[np.minimum(place, len(values) - 1)] == rest
        return cls(own, 2 * place + ties, len(values))


def areas(own: NDArray[np.float64], others: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """ROC AUC and average precision of each resample, (b,) each; NaN where it lacks images of the class or others.

    ``AUC = sum_j own_j (below_j + equal_j / 2) / (P N)`` and ``AP = sum_j own_j / P * P_j / (P_j + N_j)``, with P_j and
    N_j the images of either kind at v_j or above; both as in :mod:`graft.evaluate.curves`.

    Args:
        own: images of the class in each resample at each of their values, (b, J).
        others: the other images, by :class:`Places`, (b, 2J + 1).
    """
    positive, negative = own.sum(axis=1), others.sum(axis=1)
    # Even columns hold what lies between two values, so what lies below v_j ends with column 2j.
    below = np.cumsum(others, axis=1)[:, 0:-1:2]
    equal = others[:, 1::2]
    above_own = positive[:, None] - np.cumsum(own, axis=1) + own
    above_others = negative[:, None] - below
    either = np.maximum(above_own + above_others, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        roc = (own * (below + equal / 2)).sum(axis=1) / (positive * negative)
        precision = (own * above_own / either).sum(axis=1) / positive
    both = (positive > 0) & (negative > 0)
    return np.where(both, roc, np.nan), np.where(both, precision, np.nan)


@dataclass(frozen=True)
class Block:
    """Some classes: what is summed over images, sparse (n, columns), and the columns of each class."""

    sums: Any
    steps: tuple[int, ...]

    def finish(self, totals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sums of each resample, (b, columns) -> sums of both areas over the classes that have them, and how many do.

        Returns:
            (b, 3): sum of ROC AUC, sum of average precision, number of classes.
        """
        out, start = np.zeros((len(totals), 3)), 0
        for steps in self.steps:
            own, others = totals[:, start : start + steps], totals[:, start + steps : start + 3 * steps + 1]
            roc, precision = areas(own, others)
            out += np.stack([np.nan_to_num(roc), np.nan_to_num(precision), np.isfinite(roc)], axis=1)
            start += 3 * steps + 1
        return out


def blocks(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> Iterator[Block]:
    """The classes that have test images, as many at a time as fit into a small matrix."""
    from scipy.sparse import csr_array

    n = len(labels)
    present = np.unique(labels)
    at_once = max(1, _ENTRIES // max(1, n))
    for start in range(0, len(present), at_once):
        rows, columns, steps, width = [], [], [], 0
        for label in present[start : start + at_once]:
            truth = labels == label
            places = Places.of(truth, probabilities[:, label])
            rows += [np.flatnonzero(truth), np.flatnonzero(~truth)]
            columns += [width + places.own, width + places.steps + places.others]
            steps.append(places.steps)
            width += 3 * places.steps + 1
        entries = (np.concatenate(rows), np.concatenate(columns))
        yield Block(csr_array((np.ones(len(entries[0])), entries), shape=(n, width)), tuple(steps))
