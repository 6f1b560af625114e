"""The part of the response of ``POST /predict`` that is classification's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class LabelResponse(BaseModel):
    """The predicted class, the classes' probabilities, and whether the model is sure."""

    label: str = Field(description="the most probable class")
    probabilities: dict[str, float] = Field(description="calibrated, most probable first; all, or the `top_k`")
    unsure: bool = Field(description="the label's probability is under the model's threshold")

    @classmethod
    def of(
        cls, outputs: NDArray[np.float64], classes: Sequence[str], least_confidence: float, top_k: int | None
    ) -> LabelResponse:
        """Probabilities (k,) of one sample -> its label and the most probable classes; ties keep the classes' order."""
        ranked = sorted(zip(classes, outputs.tolist(), strict=True), key=lambda pair: -pair[1])
        label, confidence = ranked[0]
        return cls(label=label, probabilities=dict(ranked[:top_k]), unsure=confidence < least_confidence)
