"""Thumbnails: the most confident mistakes with saliency maps, and training images with doubtful labels."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from graft.core.progress import track
from graft.metrics.formatting import percent
from graft.modalities.image.decode import decode
from graft.reporting.blocks import EmbeddedImage, GalleryItem

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from graft.core.packed_files import ImageFolder, StoredFile
    from graft.evaluation.explain.label_issues import LabelIssue
    from graft.evaluation.held_out import HeldOutSet
    from graft.inference.predictor import Predictor

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
    """The most confident mistakes with their saliency maps, and the method of the maps in a sentence.

    Args:
        model: that made them; its classes may be in another order.
        folder: where the images' paths start.
        held_out: the test images.
        probabilities: the model's, (n, k).

    Raises:
        DataError: an image cannot be decoded.
    """
    from graft.evaluation.explain.gradcam import GradCam

    rows = worst_mistakes(held_out, probabilities)
    if not len(rows):
        return (), ""
    attention = GradCam.of(model, model.preprocess(folder / held_out.paths[rows[0]]))
    shown = []
    for row in track(rows.tolist(), "looking at mistakes"):
        path, p = held_out.paths[row], probabilities[row]
        said, true = held_out.classes[p.argmax()], held_out.classes[held_out.labels[row]]
        pixels = model.preprocess(folder / path)
        heat = attention.look(pixels, model.classes.index(said))
        looked: EmbeddedImage | str = "no place spoke for it"
        if heat is not None:
            looked = EmbeddedImage(overlay(pixels, heat), f"Where the model looked in {path}")
        lines = (
            ((said, "said"), (f" {percent(float(p.max()))} sure", "")),
            ((f"is {true} ({percent(float(p[held_out.labels[row]]))} sure)", ""),),
            ((path, "muted"),),
        )
        shown.append(GalleryItem((EmbeddedImage(thumbnail(folder / path), f"Test image {path}"), looked), lines))
    return tuple(shown), attention.method


def show_label_issues(folder: ImageFolder, suspects: Sequence[LabelIssue]) -> tuple[GalleryItem, ...]:
    """Training images whose label is doubted. Raises DataError where one cannot be decoded."""
    return tuple(
        GalleryItem(
            (EmbeddedImage(thumbnail(folder / item.path), f"Training image {item.path}"),),
            (
                ((f"labelled {item.given} ({percent(item.given_confidence)})", ""),),
                (("perhaps ", ""), (item.suggested, "said"), (f" ({percent(item.suggested_confidence)})", "")),
                ((item.path, "muted"),),
            ),
        )
        for item in suspects
    )


def thumbnail(image: StoredFile) -> str:
    """``data:`` address of a picture of at most 160 px a side; a tiny image stays as it is."""
    return _encoded(decode(image, least_side=SIDE, depth_range=None))


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
