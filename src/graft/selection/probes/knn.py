"""Leave-one-out accuracy of k nearest neighbours by cosine distance on frozen features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graft.selection.probes.cross_validation import limited_threads
from graft.selection.probes.input_checks import require_usable

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECIMALS = 12  # distances that differ by less are equal: they differ by rounding only


def knn_accuracy(
    features: NDArray[Any], labels: NDArray[np.int64], groups: NDArray[Any] | None = None, neighbours: int = 5
) -> float:
    """Share of images, in [0, 1], whose class most of their nearest neighbours have.

    Cosine k-NN as in Z. Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018,
    with plain votes. Neighbours as near as the k-th vote too, so that the order of images does not matter; of classes
    with equal votes that of the nearest neighbour wins. Of four distances (cosine, Euclidean, each standardised or not)
    none is always ahead over the depths of EfficientNet-Lite0, and the cosine needs no scaler.

    Args:
        features: (n, d), finite.
        labels: class indices (n).
        groups: (n); images of the same group, such as near duplicates, are never each other's neighbours.
        neighbours: k, at least 1. An image with fewer is judged by those it has, one with none counts as wrong.

    Raises:
        TrainingError: see :func:`graft.selection.probes.input_checks.require_usable`.
    """
    from sklearn.metrics import pairwise_distances_chunked

    require_usable(features, labels)
    classes, index = np.unique(labels, return_inverse=True)
    own = np.arange(len(labels)) if groups is None else np.asarray(groups)

    def hits(distances: NDArray[np.float64], start: int) -> NDArray[np.bool_]:
        rows = slice(start, start + len(distances))
        distances = np.round(distances, DECIMALS)
        distances[own[rows, None] == own[None, :]] = np.inf
        place = min(neighbours, len(labels)) - 1
        near = (distances <= np.partition(distances, place, axis=1)[:, place, None]) & np.isfinite(distances)
        votes = np.stack([near[:, index == number].sum(axis=1) for number in range(len(classes))], axis=1)
        nearest = np.stack([distances[:, index == number].min(axis=1) for number in range(len(classes))], axis=1)
        nearest[votes < votes.max(axis=1, keepdims=True)] = np.inf
        right: NDArray[np.bool_] = (nearest.argmin(axis=1) == index[rows]) & near.any(axis=1)
        return right

    scaled = features.astype(np.float64) / (np.abs(features).max() or 1.0)  # scikit-learn takes tiny vectors for zero
    with limited_threads(features):
        found = pairwise_distances_chunked(scaled, reduce_func=hits, metric="cosine")
        return float(np.mean(np.concatenate(list(found))))
