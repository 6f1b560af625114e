"""Inference for ``POST /predict`` and ``POST /predict_batch``: files -> predictions, each recorded."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from graft.core.errors import DataError
from graft.serving.archive import Member
from graft.serving.metrics import BATCH
from graft.serving.model.bundle import ModelBundle
from graft.serving.prediction_log.record import record_prediction
from graft.serving.prediction_log.writer import PredictionLogWriter
from graft.tasks.registry import find_task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from graft.inference.served_model import ServedModel

Json = dict[str, Any]  # JSON; its schema is in schemas.py
_BATCH_SIZE = 16  # images of one request that run together
_LONGEST_NAME = 200  # of a file, in a response


def predict_one(bundle: ModelBundle, log: PredictionLogWriter, image: bytes, top_k: int | None) -> Json:
    """The prediction for one image file, as JSON.

    Raises:
        DataError: it cannot be decoded.
    """
    (prediction,) = predict(bundle, log, [Member("", image)], top_k)
    if isinstance(prediction, DataError):
        raise prediction
    return {**prediction, "model": bundle.identity.model_dump()}


def predict_many(bundle: ModelBundle, log: PredictionLogWriter, files: Iterable[Member], top_k: int | None) -> Json:
    """A prediction or an error for each file, in their order, as JSON.

    Raises:
        DataError: the archive that the files come from is refused.
    """
    answers: list[Json] = []
    for batch in _batches(files, _BATCH_SIZE):
        for member, prediction in zip(batch, predict(bundle, log, batch, top_k), strict=True):
            name = printable(member.name)
            if isinstance(prediction, DataError):
                answers.append({"file": name, "error": prediction.what, "remedy": prediction.remedy})
            else:
                answers.append({**prediction, "file": name})
    BATCH.observe(len(answers))
    return {"answers": answers, "model": bundle.identity.model_dump()}


def predict(
    bundle: ModelBundle, log: PredictionLogWriter, files: Sequence[Member], top_k: int | None
) -> list[Json | DataError]:
    """Predict and record a batch of files; a DataError for each that cannot be decoded.

    A prediction is the task's response, with novelty and id.
    """
    model = bundle.model
    prepared = [_prepare(model, file.data) for file in files]
    predictions = model.predict_batch([image for image in prepared if not isinstance(image, DataError)])
    artifact, task = model.artifact, find_task(model.artifact.task)
    results: list[Json | DataError] = []
    row = 0
    for file, image in zip(files, prepared, strict=True):
        if isinstance(image, DataError):
            results.append(image)
            continue
        assert isinstance(file.data, bytes), "only bytes are prepared"
        outputs = predictions.outputs[row]
        response = task.to_response(outputs, artifact.classes, artifact.trust.threshold.confidence, top_k).model_dump()
        novelty = None if predictions.novelty is None else float(predictions.novelty[row])
        prediction = {**response, "novelty": novelty, "id": uuid.uuid4().hex}
        confidence = float(outputs.max()) if task.categorical else None
        record_prediction(log, prediction, confidence, bundle, file.data, image)
        results.append(prediction)
        row += 1
    return results


def printable(name: str) -> str:
    """A file's name for a response: one line, printable, at most 200 characters."""
    line = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    return line if len(line) <= _LONGEST_NAME else line[: _LONGEST_NAME - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _prepare(model: ServedModel, image: bytes | DataError) -> NDArray[np.uint8] | DataError:
    """The network's input, uint8 (size, size, 3), or why there is none."""
    if isinstance(image, DataError):
        return image
    try:
        return model.preprocess(image)
    except DataError as error:
        # The decoder's remedies are for a folder of images; a request has nothing to take out.
        return DataError(error.what, remedy=(error.remedy or "").removesuffix(", or take it out") or None)


def _batches(files: Iterable[Member], size: int) -> Iterator[list[Member]]:
    remaining = iter(files)
    while batch := list(itertools.islice(remaining, size)):
        yield batch
