"""Pictures to look at first: the most confident mistakes, with where the model looked, and suspected label errors."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graft.images.decode import decode
from graft.images.packed import RawFolder, StoredImage
from graft.progress import track

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from graft.evaluate.heldout import HeldOut
    from graft.predict import Predictor

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


@dataclass(frozen=True)
class Shown:
    """An image for the page, as ``data:`` addresses.

    Attributes:
        picture: the image, small.
        looked: what the network saw of it, with what spoke for its answer; None where nothing did.
    """

    picture: str
    looked: str | None = None


def thumbnails(images: Iterable[StoredImage]) -> list[str]:
    """``data:`` addresses of small pictures, at most 160 px a side; a tiny image stays as it is.

    Raises:
        DataError: an image cannot be decoded.
    """
    return [_thumbnail(decode(image, least_side=SIDE, depth_range=None)) for image in images]


def show_mistakes(model: Predictor, folder: RawFolder, mistakes: Sequence[Mistake]) -> tuple[list[Shown], str]:
    """Each mistake's picture and where the model looked, and in a sentence how that was found out.

    Args:
        model: that made them.
        folder: where the mistakes' paths start.
        mistakes: at most some tens; each costs a backward pass or some forward passes.

    Raises:
        DataError: an image cannot be decoded.
    """
    from graft.evaluate.attention import Attention

    if not mistakes:
        return [], ""
    attention = Attention.of(model, model.prepare(folder / mistakes[0].path))
    shown = []
    for item in track(mistakes, "looking at mistakes"):
        pixels = model.prepare(folder / item.path)
        heat = attention.look(pixels, model.classes.index(item.predicted))
        picture = _thumbnail(decode(folder / item.path, least_side=SIDE, depth_range=None))
        shown.append(Shown(picture, None if heat is None else overlay(pixels, heat)))
    return shown, attention.method


def overlay(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> str:
    """The image in dim grey, and over it what spoke for the answer, from violet to yellow: a ``data:`` address.

    The colours (matplotlib's ``plasma``) grow lighter with the heat, so that brightness alone tells them apart.

    Args:
        pixels: uint8 (size, size, 3), what the network saw.
        heat: (size, size), 0 to 1.
    """
    from matplotlib import colormaps
    from PIL import Image

    side = SIDE if len(pixels) < SIDE else len(pixels)
    grey = Image.fromarray(pixels).convert("L").resize((side, side), Image.Resampling.NEAREST)
    hot = Image.fromarray(heat.astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR)
    strength = np.asarray(hot, dtype=np.float32)
    colours = colormaps["plasma"](0.25 + 0.75 * strength)[..., :3] * 255
    opacity = 0.75 * strength[..., None]
    mixed = (1 - opacity) * 0.75 * np.asarray(grey, dtype=np.float32)[..., None] + opacity * colours
    return _thumbnail(Image.fromarray(mixed.clip(0, 255).astype(np.uint8)))


def _thumbnail(image: Image.Image) -> str:
    kind = "png" if max(image.size) <= _LOSSLESS else "jpeg"
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format=kind, quality=82)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
