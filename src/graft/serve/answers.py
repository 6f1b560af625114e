"""What the service says: the shapes of its answers, and one made of what a model said."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field


class Identity(BaseModel):
    """The model that gave an answer."""

    name: str
    version: str
    arch: str
    trained_from: str
    sha256: str


class Readiness(BaseModel):
    """The answer to ``GET /readyz``: what runs the model, as it was chosen at the start."""

    engine: str = Field(description="`onnxruntime` or `torch`")
    device: str = Field(description="such as `cpu`")
    threads: int = Field(description="requests that one worker works on at once")
    workers: int = Field(description="processes that serve")
    batch: int = Field(description="most images of different requests that are run together")


class Card(Identity):
    """The answer to ``GET /model``: what is known of the model that answers now."""

    classes: list[str] = Field(description="what it can say")
    size: int = Field(description="side of the images that it looks at, in pixels")
    depth: int | None = Field(description="index of the network's last block; null: the whole network")
    metrics: dict[str, Any] = Field(description="figures from its test images, such as `accuracy` and `accuracy_ci95`")
    keeps_images: bool = Field(description="sent images are kept on the service's disk")
    threshold: dict[str, float | None] = Field(description="`confidence` under which it is unsure, and its `target`")
    novelty: dict[str, float] | None = Field(description="`usual`: the share of training images at or under 1")
    trained_on: dict[str, int | None] = Field(description="`images`: how many")
    runtime: dict[str, Any] = Field(description="`engine`, `device`, and how many `threads` and `workers`")
    limits: dict[str, int] = Field(description="`body`: bytes that a request for one image may have")


class Said(BaseModel):
    """What a model says of one image.

    Attributes:
        label: the most probable class.
        probabilities: calibrated, most probable first, of every class or of the `top_k` that were asked for.
        unsure: the label's probability is under the model's threshold: better not to act on it.
        novelty: how unlike the training images this one is, over 1 unlike; null where the model cannot tell.
        id: what this answer is called, for `POST /feedback`.
    """

    label: str = Field(description="the most probable class")
    probabilities: dict[str, float] = Field(description="calibrated, most probable first; all, or the `top_k`")
    unsure: bool = Field(description="the label's probability is under the model's threshold")
    novelty: float | None = Field(description="over 1: unlike the training images; null: the model cannot tell")
    id: str = Field(description="what this answer is called, for `POST /feedback`")


class Answer(Said):
    """The answer to ``POST /predict``, with the model that gave it."""

    model: Identity


class FileAnswer(Said):
    """The answer on one of many files."""

    file: str = Field(description="its name as it was sent, made printable")


class FileRefusal(BaseModel):
    """Why there is no answer on one of many files."""

    file: str
    error: str
    remedy: str | None


class BatchAnswer(BaseModel):
    """The answer to ``POST /predict_batch``: one for each file, in their order."""

    answers: list[FileAnswer | FileRefusal]
    model: Identity


class Refusal(BaseModel):
    """What is answered to whatever cannot be answered."""

    error: str = Field(description="what is wrong")
    remedy: str | None = Field(description="what to do about it")


def said(
    classes: Sequence[str], probabilities: Sequence[float], unsure: bool, novelty: float | None, top_k: int | None
) -> Said:
    """One image's answer under a new name, its classes by falling probability; of equals the first is first."""
    ranked = sorted(zip(classes, probabilities, strict=True), key=lambda pair: -pair[1])
    shown = dict(ranked[:top_k])
    return Said(label=ranked[0][0], probabilities=shown, unsure=unsure, novelty=novelty, id=uuid.uuid4().hex)
