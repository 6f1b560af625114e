"""Request and response schemas of the HTTP API."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field

from graft.tasks.classification.response import LabelResponse


class ModelIdentity(BaseModel):
    """The model that predicted."""

    name: str
    version: str
    arch: str
    trained_from: str
    sha256: str


class ModelResponse(ModelIdentity):
    """Response of ``GET /model``."""

    classes: list[str] = Field(description="the labels it can predict")
    modality: str = Field(description="what a sample is, such as `image`")
    size: int = Field(description="of the network's input; of images its side in pixels")
    depth: int | None = Field(description="index of the network's last block; null: the whole network")
    metrics: dict[str, Any] = Field(description="figures from its test images, such as `accuracy` and `accuracy_ci95`")
    keeps_images: bool = Field(description="sent images are kept on the service's disk")
    threshold: dict[str, float | None] = Field(description="`confidence` under which it is unsure, and its `target`")
    novelty: dict[str, float] | None = Field(description="`usual`: the share of training images at or under 1")
    trained_on: dict[str, int | None] = Field(description="`images`: how many")
    runtime: dict[str, Any] = Field(description="`engine`, `device`, and how many `threads` and `workers`")
    limits: dict[str, int] = Field(description="`body`: bytes that a request for one image may have")


class PredictedLabel(LabelResponse):
    """What the model predicts for one image."""

    unsure: bool = Field(description="the label's probability is under the model's threshold")
    novelty: float | None = Field(description="over 1: unlike the training images; null: the model cannot tell")
    id: str = Field(description="the prediction's id, for `POST /feedback`")

    @classmethod
    def from_probabilities(
        cls,
        classes: Sequence[str],
        probabilities: Sequence[float],
        unsure: bool,
        novelty: float | None,
        top_k: int | None,
    ) -> PredictedLabel:
        """A prediction with a new id, its classes by falling probability; ties keep the classes' order."""
        ranked = cls.ranked(classes, probabilities, top_k)
        return cls(**ranked, unsure=unsure, novelty=novelty, id=uuid.uuid4().hex)


class PredictResponse(PredictedLabel):
    """Response of ``POST /predict``."""

    model: ModelIdentity


class BatchItem(PredictedLabel):
    """The prediction for one of many files."""

    file: str = Field(description="its name as it was sent, made printable")


class BatchError(BaseModel):
    """Why one of many files has no prediction."""

    file: str
    error: str
    remedy: str | None


class BatchResponse(BaseModel):
    """Response of ``POST /predict_batch``: an item for each file, in their order."""

    answers: list[BatchItem | BatchError]
    model: ModelIdentity


class Feedback(BaseModel):
    """Request and response of ``POST /feedback``: a prediction's id and its right label."""

    id: str
    label: str


class ErrorResponse(BaseModel):
    """Response to a request that is refused."""

    error: str = Field(description="what is wrong")
    remedy: str | None = Field(default=None, description="what to do about it")
