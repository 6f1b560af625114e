"""The most confident mistakes, as thumbnails: what to look at first when a model is to be made better."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graft.images.decode import decode

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from graft.evaluate.heldout import HeldOut

SIDE = 160  # pixels; twice what the page shows, for sharp screens
_LOSSLESS = 64


@dataclass(frozen=True)
class Mistake:
    """A test image that was named wrongly.

    Attributes:
        path: relative to data/raw.
        true: its class.
        predicted: what the model said.
        confidence: the probability of what it said, in (0, 1].
        right: the probability of its class, in [0, 1].
    """

    path: str
    true: str
    predicted: str
    confidence: float
    right: float


def worst_mistakes(held_out: HeldOut, probabilities: NDArray[np.float64], most: int = 12) -> tuple[Mistake, ...]:
    """The mistakes whose wrong class got the greatest probability, worst first."""
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != held_out.labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")[:most]]
    return tuple(
        Mistake(
            path=held_out.paths[i],
            true=held_out.classes[held_out.labels[i]],
            predicted=held_out.classes[predicted[i]],
            confidence=float(confidence[i]),
            right=float(probabilities[i, held_out.labels[i]]),
        )
        for i in worst
    )


def thumbnails(images: Iterable[Path]) -> list[str]:
    """``data:`` addresses of small pictures, at most 160 px a side; a tiny image stays as it is.

    Raises:
        DataError: an image cannot be decoded.
    """
    return [_data_address(decode(image, least_side=SIDE)) for image in images]


def _data_address(image: Image.Image) -> str:
    kind = "png" if max(image.size) <= _LOSSLESS else "jpeg"
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format=kind, quality=82)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
