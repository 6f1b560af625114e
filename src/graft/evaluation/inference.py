"""Run several models over the same images, each image decoded once; memory stays flat at any number of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.errors import DataError
from graft.core.packed_files import StoredFile
from graft.core.progress import track
from graft.inference.predictor import Predictions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from graft.inference.predictor import Predictor
    from graft.modalities.preprocessor import Loader

BATCH = 16


def _refuse(place: int, error: DataError) -> None:
    raise error


def answers_of(
    models: Mapping[str, Predictor],
    images: Sequence[StoredFile],
    classes: Sequence[str],
    on_damaged: Callable[[int, DataError], None] = _refuse,
) -> dict[str, Predictions]:
    """Run every model over every image.

    An image is decoded once (a large JPEG once for each fraction of its size that is needed), and resized once for
    each geometry: models of equal geometry share the pixels. At most ``BATCH`` images of each geometry are held.

    Args:
        models: by name; each knows exactly ``classes``, in any order.
        images: n image files.
        classes: the order of the columns, k names; empty where the task has none.
        on_damaged: told of each image that cannot be decoded, by its place and why; raises by default. Where it
            returns, that image's rows are NaN.

    Returns:
        By name outputs (n, k), such as probabilities, and novelty (n,) of the models that tell it.

    Raises:
        DataError: an image cannot be decoded, and ``on_damaged`` raises.
    """
    loaders = {model.artifact.preprocessing.loader for model in models.values()}
    columns: dict[str, Any] = {
        name: [model.classes.index(label) for label in classes] if classes else slice(None)
        for name, model in models.items()
    }
    found = {name: np.full((len(images), len(model.artifact.outputs)), np.nan) for name, model in models.items()}
    novelty = {name: np.full(len(images), np.nan) for name, model in models.items() if model.reference is not None}
    waiting: dict[Loader, list[NDArray[Any]]] = {loader: [] for loader in loaders}
    places: list[int] = []

    def answer() -> None:
        for name, model in models.items():
            said = model.predict_batch(waiting[model.artifact.preprocessing.loader])
            found[name][places] = said.outputs[:, columns[name]]
            if said.novelty is not None:
                novelty[name][places] = said.novelty
        places.clear()
        for batch in waiting.values():
            batch.clear()

    for place, image in enumerate(track(images, "testing")):
        try:
            loaded = next(iter(loaders)).load_each(image, loaders)
        except DataError as error:
            on_damaged(place, error)
            continue
        places.append(place)
        for loader, row in loaded.items():
            waiting[loader].append(row)
        if len(places) == BATCH:
            answer()
    answer()
    return {name: Predictions(found[name], novelty.get(name)) for name in models}
