"""Thumbnails: the most confident mistakes with saliency maps, and training images with doubtful labels."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.packed_files import read_bytes
from graft.core.progress import track
from graft.metrics.formatting import percent
from graft.modalities.registry import modality_of
from graft.reporting.blocks import EmbeddedImage, GalleryItem, SamplePreview

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from graft.core.packed_files import ImageFolder, StoredFile
    from graft.evaluation.explain.label_issues import LabelIssue
    from graft.evaluation.held_out import HeldOutSet
    from graft.inference.predictor import Predictor
    from graft.modalities.base import Modality

SIDE = 160  # pixels; twice what the page shows, for sharp screens
_LOSSLESS = 64


def worst_mistakes(held_out: HeldOutSet, probabilities: NDArray[np.float64], most: int = 12) -> NDArray[np.intp]:
    """Rows of the mistakes whose wrong class got the greatest probability, worst first."""
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1, initial=0.0)
    wrong = np.flatnonzero(predicted != held_out.labels)
    return wrong[np.argsort(-confidence[wrong], kind="stable")[:most]]


def show_mistakes(
    model: Predictor, folder: ImageFolder, held_out: HeldOutSet, probabilities: NDArray[np.float64]
) -> tuple[tuple[GalleryItem, ...], str]:
    """The most confident mistakes with where the model looked, and in a sentence how that was found.

    Args:
        model: that made them; its classes may be in another order.
        folder: where the samples' paths start.
        held_out: the test samples.
        probabilities: the model's, (n, k).

    Returns:
        The exhibits, and the sentence; it is empty where samples of this kind are not explained.

    Raises:
        DataError: a sample cannot be decoded.
    """
    preprocessing = model.artifact.preprocessing
    modality, rows = modality_of(preprocessing), worst_mistakes(held_out, probabilities)
    if not len(rows):
        return (), ""
    explained = EXPLANATIONS.get(modality.name)
    explanation = None if explained is None else explained(model, model.preprocess(folder / held_out.paths[rows[0]]))
    shown = []
    for row in track(rows.tolist(), "looking at mistakes"):
        path, p = held_out.paths[row], probabilities[row]
        said, true = held_out.classes[p.argmax()], held_out.classes[held_out.labels[row]]
        frames: list[SamplePreview | EmbeddedImage | str] = [_preview(modality, folder / path, f"Test sample {path}")]
        if explanation is not None:
            alt = f"Where the model looked in {path}"
            frames.append(explanation.draw(model.preprocess(folder / path), model.classes.index(said), alt))
        lines = (
            ((said, "said"), (f" {percent(float(p.max()))} sure", "")),
            ((f"is {true} ({percent(float(p[held_out.labels[row]]))} sure)", ""),),
            ((path, "muted"),),
        )
        shown.append(GalleryItem(tuple(frames), lines))
    return tuple(shown), "" if explanation is None else explanation.method


def show_label_issues(
    folder: ImageFolder, suspects: Sequence[LabelIssue], modality: Modality
) -> tuple[GalleryItem, ...]:
    """Training samples whose label is doubted. Raises DataError where a file cannot be read."""
    return tuple(
        GalleryItem(
            (_preview(modality, folder / item.path, f"Training sample {item.path}"),),
            (
                ((f"labelled {item.given} ({percent(item.given_confidence)})", ""),),
                (("perhaps ", ""), (item.suggested, "said"), (f" ({percent(item.suggested_confidence)})", "")),
                ((item.path, "muted"),),
            ),
        )
        for item in suspects
    )


def _preview(modality: Modality, file: StoredFile, alt: str) -> SamplePreview:
    return SamplePreview(modality.preview(read_bytes(file)), alt)


@dataclass(frozen=True)
class Explanation:
    """What spoke for a model's answers.

    Attributes:
        method: how it is found, in a sentence.
        draw: a loaded sample, the index of an answer and an alternative text -> a picture, or a text without one.
    """

    method: str
    draw: Callable[[NDArray[Any], int, str], EmbeddedImage | str]


def _grad_cam(model: Predictor, pixels: NDArray[np.uint8]) -> Explanation:
    """Of images; the block is chosen by what one of them, uint8 (size, size, 3), does in the network."""
    from graft.evaluation.explain.gradcam import GradCam

    attention = GradCam.of(model, pixels)

    def draw(pixels: NDArray[np.uint8], answer: int, alt: str) -> EmbeddedImage | str:
        heat = attention.look(pixels, answer)
        return "no place spoke for it" if heat is None else EmbeddedImage(overlay(pixels, heat), alt)

    return Explanation(attention.method, draw)


# By modality. To add one, add a row.
EXPLANATIONS: dict[str, Callable[[Predictor, NDArray[Any]], Explanation]] = {"image": _grad_cam}


def overlay(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> str:
    """The image in dim grey with its saliency map over it, violet to yellow, as a ``data:`` address.

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
    return _encoded(Image.fromarray(mixed.clip(0, 255).astype(np.uint8)))


def _encoded(image: Image.Image) -> str:
    kind = "png" if max(image.size) <= _LOSSLESS else "jpeg"
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format=kind, quality=82)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
