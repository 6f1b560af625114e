"""The prediction log: a row for each prediction, counters, and the image where images are kept."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.modalities.registry import modality_of
from graft.monitoring.prediction_log import PredictionLog, PredictionRecord
from graft.serving.metrics import LOST, count_prediction
from graft.serving.model.bundle import ModelBundle
from graft.serving.prediction_log.image_store import ImageStore
from graft.serving.prediction_log.writer import PredictionLogWriter
from graft.serving.settings import OFF, ServiceSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray


def open_prediction_log(settings: ServiceSettings, project_log: Path | None) -> PredictionLogWriter:
    """The prediction log that the settings ask for, with its writer started.

    Args:
        settings: the service's.
        project_log: where a project keeps its prediction log; None where a Bento is served.
    """
    named = settings.prediction_log
    path = None if named.lower() == OFF else Path(named) if named else project_log
    folder = settings.keep_images
    images = ImageStore(folder, settings.keep_images_limit) if folder else None
    writer = PredictionLogWriter(PredictionLog(path) if path else None, images, on_lost=LOST.inc)
    writer.start()
    return writer


def record_prediction(
    log: PredictionLogWriter,
    prediction: Mapping[str, Any],
    confidence: float | None,
    bundle: ModelBundle,
    raw: bytes,
    row: NDArray[Any],
) -> None:
    """Count and record a prediction.

    Args:
        log: writes it down.
        prediction: the task's response, with novelty and id.
        confidence: the label's probability; None where the task has no classes.
        bundle: the model that predicted.
        raw: the sample as it was sent.
        row: what the model's loader made of it.
    """
    label, unsure, novelty = prediction.get("label"), prediction.get("unsure"), prediction["novelty"]
    count_prediction(label, unsure, novelty, bundle.model.classes)
    if not log.is_on:
        return
    record = PredictionRecord(
        id=prediction["id"],
        at=time.time(),
        model=bundle.identity.version,
        label=label,
        confidence=confidence,
        unsure=unsure,
        novelty=novelty,
        stats=modality_of(bundle.model.artifact.preprocessing).request_stats(raw, row),
    )
    log.add(record, raw)
