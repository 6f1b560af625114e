"""Request and response schemas of the HTTP API.

To add a field to the response of every task, add it to :class:`Answer` and fill it in ``serving/inference.py``; a field
of one task goes into its response (``tasks/classification/response.py``). ``client.py`` and ``docs/service.md`` repeat
them, and ``serving/prediction_log/record.py`` says what is kept of an answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Any

from pydantic import BaseModel, Field, create_model

from graft.tasks.registry import TASKS


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


class Answer(BaseModel):
    """What a prediction has beside the fields of the task's response."""

    novelty: float | None = Field(description="over 1: unlike the training images; null: the model cannot tell")
    id: str = Field(description="the prediction's id, for `POST /feedback`")


class PredictResponse(Answer):
    """Response of ``POST /predict``."""

    model: ModelIdentity


class BatchItem(Answer):
    """The prediction for one of many files."""

    file: str = Field(description="its name as it was sent, made printable")


class BatchError(BaseModel):
    """Why one of many files has no prediction."""

    file: str
    error: str
    remedy: str | None


def predict_response() -> Any:
    """Response of ``POST /predict`` by any task."""
    return _any_of(_of_each_task(PredictResponse))


def batch_response() -> type[BaseModel]:
    """Response of ``POST /predict_batch``: an item for each file, in their order."""
    answers: Any = list[_any_of([*_of_each_task(BatchItem), BatchError])]  # type: ignore[misc]
    return create_model("BatchResponse", answers=(answers, ...), model=(ModelIdentity, ...))


def _of_each_task(schema: type[Answer]) -> list[type[BaseModel]]:
    """The schema with the fields of each task's response before its own, for the OpenAPI document."""
    return [
        create_model(f"{task.name.capitalize()}{schema.__name__}", __base__=(schema, task.response))
        for task in TASKS.values()
    ]


def _any_of(schemas: Iterable[type[BaseModel]]) -> Any:
    return reduce(or_, schemas)


class Feedback(BaseModel):
    """Request and response of ``POST /feedback``: a prediction's id and its right label."""

    id: str
    label: str


class ErrorResponse(BaseModel):
    """Response to a request that is refused."""

    error: str = Field(description="what is wrong")
    remedy: str | None = Field(default=None, description="what to do about it")
