"""The part of the response of ``POST /predict`` that is classification's."""

from __future__ import annotations

from pydantic import BaseModel, Field


class LabelResponse(BaseModel):
    """The predicted class, the classes' probabilities, and whether the model is sure."""

    label: str = Field(description="the most probable class")
    probabilities: dict[str, float] = Field(description="calibrated, most probable first; all, or the `top_k`")
    unsure: bool = Field(description="the label's probability is under the model's threshold")
