"""What Prometheus is told besides what BentoML tells it: answers by class, how many were unsure, what was refused.

BentoML counts requests and their time by path and status (``bentoml_service_request_total``,
``bentoml_service_request_duration_seconds``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

# A time series for each class; beyond so many they cost more than they tell.
MOST_CLASSES = 200
OTHER = "(other classes)"


@dataclass(frozen=True)
class Metrics:
    """The counters of this process; BentoML adds up those of all workers."""

    answers: Any
    unsure: Any
    novel: Any
    batch: Any
    refused: Any
    feedback: Any
    lost: Any

    def answered(self, label: str, unsure: bool, novelty: float | None, classes: Sequence[str]) -> None:
        """Count one answer."""
        shown = label if len(classes) <= MOST_CLASSES or label in classes[:MOST_CLASSES] else OTHER
        self.answers.labels(label=shown).inc()
        if unsure:
            self.unsure.inc()
        if novelty is not None and novelty > 1:
            self.novel.inc()


@cache
def metrics() -> Metrics:
    """The counters, made when first asked for: BentoML says where they are kept after it has loaded the service."""
    import prometheus_client as prometheus

    return Metrics(
        answers=prometheus.Counter("graft_answers", "Images that were answered, by label", ["label"]),
        unsure=prometheus.Counter("graft_unsure", "Answers under the model's threshold"),
        novel=prometheus.Counter("graft_novel", "Answers on images unlike the training images"),
        batch=prometheus.Histogram(
            "graft_batch_images", "Images in a request of many", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
        ),
        refused=prometheus.Counter("graft_refused", "Requests that were not answered, by status", ["status"]),
        feedback=prometheus.Counter("graft_feedback", "Labels that people gave"),
        lost=prometheus.Counter("graft_journal_lost", "Answers that could not be written into the journal"),
    )
