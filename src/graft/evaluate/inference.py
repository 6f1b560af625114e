"""Test images -> probabilities of every model, each image decoded once; memory stays flat at any number of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graft.progress import track
from graft.zoo.preprocessing import load_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.predict import Predictor
    from graft.zoo.preprocessing import Geometry

BATCH = 64


def probabilities_of(
    models: Mapping[str, Predictor], images: Sequence[Path], classes: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Run every model over every image.

    An image is decoded once (a large JPEG once for each fraction of its size that is needed), and resized once for
    each geometry: models of equal geometry share the pixels. At most ``BATCH`` images of each geometry are held.

    Args:
        models: by name; each knows exactly ``classes``, in any order.
        images: n image files.
        classes: the order of the columns, k names.

    Returns:
        Probabilities (n, k) by name; every row sums to one.

    Raises:
        DataError: an image cannot be decoded.
    """
    geometries = {model.artifact.preprocessing.geometry for model in models.values()}
    columns = {name: [model.classes.index(label) for label in classes] for name, model in models.items()}
    found = {name: np.empty((len(images), len(classes))) for name in models}
    waiting: dict[Geometry, list[NDArray[np.uint8]]] = {geometry: [] for geometry in geometries}
    for count, image in enumerate(track(images, "testing"), start=1):
        for geometry, pixels in load_for(image, geometries).items():
            waiting[geometry].append(pixels)
        held = (count - 1) % BATCH + 1
        if held < BATCH and count < len(images):
            continue
        for name, model in models.items():
            rows = model.probabilities(waiting[model.artifact.preprocessing.geometry])
            found[name][count - held : count] = rows[:, columns[name]]
        for batch in waiting.values():
            batch.clear()
    return found
