"""Prometheus metrics of the model: predictions by class, abstentions, novelty, feedback.

BentoML counts requests and their duration by path and status.
"""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import Counter, Histogram

# A time series for each class; more of them cost more than they tell.
MOST_CLASSES = 200
OTHER = "(other classes)"

PREDICTIONS = Counter("graft_answers", "Predictions by label", ["label"])
UNSURE = Counter("graft_unsure", "Predictions under the model's threshold")
NOVEL = Counter("graft_novel", "Predictions on images unlike the training images")
BATCH = Histogram("graft_batch_images", "Images in a request of many", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256))
REFUSED = Counter("graft_refused", "Requests that were refused, by status", ["status"])
FEEDBACK = Counter("graft_feedback", "Labels sent as feedback")
LOST = Counter("graft_predictions_lost", "Predictions that could not be logged")


def count_prediction(label: str | None, unsure: bool | None, novelty: float | None, classes: Sequence[str]) -> None:
    """Count one prediction; ``label`` and ``unsure`` are None where the task has no classes."""
    is_shown = len(classes) <= MOST_CLASSES or label in classes[:MOST_CLASSES]
    PREDICTIONS.labels(label=(label or "") if is_shown else OTHER).inc()
    if unsure:
        UNSURE.inc()
    if novelty is not None and novelty > 1:
        NOVEL.inc()
