"""The part of the response of ``POST /predict`` that is classification's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, Field


class LabelResponse(BaseModel):
    """The predicted class and the classes' probabilities."""

    label: str = Field(description="the most probable class")
    probabilities: dict[str, float] = Field(description="calibrated, most probable first; all, or the `top_k`")

    @staticmethod
    def ranked(classes: Sequence[str], probabilities: Sequence[float], top_k: int | None) -> dict[str, Any]:
        """The fields: classes by falling probability; ties keep the classes' order."""
        pairs = sorted(zip(classes, probabilities, strict=True), key=lambda pair: -pair[1])
        return {"label": pairs[0][0], "probabilities": dict(pairs[:top_k])}
