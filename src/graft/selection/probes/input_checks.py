"""What every probe asks of its features and labels before it computes anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.errors import TrainingError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def require_usable(features: NDArray[Any], labels: NDArray[Any], where: object = None) -> None:
    """Refuse features (n, d) and labels (n) that no probe can be computed from.

    Args:
        features: any float type.
        labels: as the task encodes them.
        where: what the message names, such as ``depth 3``.

    Raises:
        TrainingError: shapes that do not fit, labels that are all equal, or features that are not finite.
    """
    if features.ndim != 2 or len(features) != len(labels) or features.shape[1] == 0:
        raise TrainingError(f"features of shape {features.shape} do not fit {len(labels)} labels", where=where)
    if len(labels) == 0 or labels.min() == labels.max():
        raise TrainingError("all training images have the same label, so nothing can be told apart")
    broken = ~np.isfinite(features).all(axis=1)
    if broken.any():
        raise TrainingError(
            f"the network's features are not finite for {int(broken.sum())} of {len(broken)} images",
            where=where,
            remedy="look at this candidate's weights: they are damaged, or they overflow; the others are not concerned",
        )
