"""k-nearest-neighbour accuracy of features, leave-one-out: what they say before anything is fitted to them.

Likeness is the cosine of the features as they are. It was measured beside Euclidean distance, with and without
standardised features, at all eight depths of EfficientNet-Lite0 on photographs of ants and bees and on digits: no two
differ by more than 0.07 at most depths and none is always ahead, but at the last feature, where distances do worst
(0.852 against 0.914 on the photographs), the cosine is among the best. And it needs no scaler, so that leaving one
image out leaves nothing of it behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graft.selection.probes.blas import Threads
from graft.selection.probes.input_checks import require_usable

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = 512  # images whose neighbours are looked for at once: bounds the memory at ROWS x n numbers
DECIMALS = 12  # cosines that differ by less are equal: they differ by rounding only


def knn_accuracy(
    features: NDArray[Any], labels: NDArray[np.int64], groups: NDArray[Any] | None = None, neighbours: int = 5
) -> float:
    """Share of images, in [0, 1], whose class most of their nearest neighbours have; each image is left out in turn.

    ``cos(x, y) = x.y / (|x| |y|)`` (cosine k-NN as in Z. Wu et al., Unsupervised Feature Learning via Non-Parametric
    Instance Discrimination, CVPR 2018, with plain votes). A zero vector has cosine 0 with everything. Neighbours as
    near as the last one that is taken are taken too, so that the order of the images does not matter. Where classes
    have as many votes, the one with the nearest neighbour wins, then the lower index. An image without any neighbour
    counts as wrong; one with fewer than ``neighbours`` is judged by those it has.

    Args:
        features: (n, d), finite.
        labels: class indices (n).
        groups: (n); images of the same group, such as near duplicates, are never each other's neighbours.
        neighbours: how many are asked, at least 1.

    Raises:
        TrainingError: see :func:`graft.selection.probes.input_checks.require_usable`.
    """
    require_usable(features, labels)
    unit = _unit(features)
    classes, index = np.unique(labels, return_inverse=True)
    own = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    right = 0
    with Threads().for_work(ROWS * float(features.size)):
        for start in range(0, len(unit), ROWS):
            rows = slice(start, start + ROWS)
            likeness = np.round(unit[rows] @ unit.T, DECIMALS)
            likeness[own[rows, None] == own[None, :]] = -np.inf
            right += int(np.sum(_vote(likeness, index, len(classes), neighbours) == index[rows]))
    return right / len(labels)


def _unit(features: NDArray[Any]) -> NDArray[np.float64]:
    """Rows of length one, float64; zero rows stay zero. Largest entries are scaled first, so that squares fit."""
    rows = features.astype(np.float64)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    rows /= np.where(largest > 0, largest, 1.0)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(length > 0, length, 1.0)
    return rows


def _vote(likeness: NDArray[np.float64], index: NDArray[Any], classes: int, neighbours: int) -> NDArray[np.int64]:
    """The class each row's neighbours vote for; ``likeness`` (rows, n), -inf where not allowed; -1 for no neighbour."""
    place = max(likeness.shape[1] - neighbours, 0)
    last = np.partition(likeness, place, axis=1)[:, place, None]
    asked = (likeness >= last) & np.isfinite(likeness)
    votes = np.stack([asked[:, index == number].sum(axis=1) for number in range(classes)], axis=1)
    nearest = np.stack([likeness[:, index == number].max(axis=1) for number in range(classes)], axis=1)
    nearest[votes < votes.max(axis=1, keepdims=True)] = -np.inf
    return np.where(asked.any(axis=1), nearest.argmax(axis=1), -1)
