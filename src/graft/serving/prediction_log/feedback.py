"""``POST /feedback``: the right label of an earlier prediction."""

from __future__ import annotations

import asyncio
import re
import time

import anyio.to_thread

from graft.core.errors import DataError, did_you_mean
from graft.serving.metrics import FEEDBACK
from graft.serving.prediction_log.writer import PredictionLogWriter
from graft.serving.schemas import Feedback

# Predictions are written by another thread or worker, some 0.2 s after they were answered.
_TRIES, _PAUSE_SECONDS = 4, 0.15
_ID = re.compile("[0-9a-f]{32}")


class UnknownPredictionError(DataError):
    """Feedback on a prediction that is not in the log."""


async def record_feedback(log: PredictionLogWriter, classes: tuple[str, ...], feedback: Feedback) -> None:
    """Write the right label into the prediction log.

    Args:
        log: the prediction log.
        classes: the model's.
        feedback: the prediction's id and its right label.

    Raises:
        DataError: the label is no class of the model.
        UnknownPredictionError: there is no such prediction, or no log.
        GraftError: the log cannot be written.
    """
    if feedback.label not in classes:
        raise DataError("the label is no class of this model", remedy=did_you_mean(feedback.label[:100], classes))
    if log.log is None:
        raise UnknownPredictionError(
            "predictions are not logged here", remedy="set GRAFT_PREDICTION_LOG where the service is started"
        )
    for attempt in range(_TRIES if _ID.fullmatch(feedback.id) else 0):
        await asyncio.sleep(_PAUSE_SECONDS * bool(attempt))
        if await anyio.to_thread.run_sync(log.log.correct, feedback.id, feedback.label, time.time()):
            FEEDBACK.inc()
            return
    raise UnknownPredictionError("there is no answer of this id", remedy="send the `id` of an answer")
