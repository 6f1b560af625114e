"""From any of Pillow's modes, with or without a colour profile, to sRGB on a white ground."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from graft.core.errors import DataError

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

# What becomes black and what becomes white of a deep image, as shares of what its type of number holds.
DepthRange = tuple[float, float]
FULL_DEPTH: DepthRange = (0.0, 1.0)

BACKGROUND = (255, 255, 255)
# Profiles of cameras and screens have 0.5 to 20 KB, of printers up to 3 MB. What is larger is taken for broken.
MAX_PROFILE_BYTES = 8 << 20

_ROWS = 512
_PROBE_LEVELS = 9


def to_srgb(image: Image.Image, depth_range: DepthRange | None = FULL_DEPTH) -> Image.Image:
    """A loaded image of any mode -> RGB; its profile is read from ``image.info``.

    What is RGB already and needs nothing is given back itself.

    Args:
        image: of any mode.
        depth_range: what becomes black and white of a deep image, and is of no matter to others; None: its own range.

    Raises:
        DataError: it holds numbers that cannot be read as grey levels.
    """
    if is_deep(image):
        return _in_srgb(_from_numbers(image, depth_range), image)
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        cover = image.convert("RGBA").getchannel("A")
        colours = _in_srgb(_without_alpha(image), image)
        colours.paste(BACKGROUND, mask=cover.point([255 - level for level in range(256)]))
        return colours
    return _in_srgb(image, image)


def is_deep(image: Image.Image) -> bool:
    """Whether it holds numbers of more than 8 bits; of colour Pillow keeps the high byte alone."""
    return image.mode.startswith("I") or image.mode == "F"


def own_range(image: Image.Image) -> DepthRange:
    """The least and the largest number of a deep image, as shares of what its type holds: 65,535, or 1 of real numbers.

    Raises:
        DataError: it holds numbers beyond that.
    """
    values = np.asarray(image)
    top, low, high = _top(image), float(values.min()), float(values.max())
    if not (low >= 0 and high <= top):  # also where they are not numbers at all
        raise DataError(
            f"the image holds numbers from {low:g} to {high:g} (mode {image.mode}), "
            f"and only 0 to {top:g} can be read as grey levels",
            remedy="scale it to 8 or 16 bits",
        )
    return low / top, high / top


def _top(image: Image.Image) -> float:
    return 1.0 if image.mode == "F" else 65535.0


def _without_alpha(image: Image.Image) -> Image.Image:
    # Not `convert("RGB")`: a grey image must stay grey, for its profile is one for grey.
    return image.getchannel("L") if image.mode == "LA" else image.convert("L" if image.mode in {"1", "L"} else "RGB")


def _in_srgb(image: Image.Image, source: Image.Image) -> Image.Image:
    """``image`` as RGB, by the profile of ``source`` where it has one that fits."""
    profile = source.info.get("icc_profile")
    if isinstance(profile, bytes) and 0 < len(profile) <= MAX_PROFILE_BYTES:
        if image.mode not in {"RGB", "L", "CMYK"}:
            image = image.convert("L" if image.mode == "1" else "RGB")
        transform = _transform(profile, image.mode)
        if transform is not None:
            return transform.apply(image)
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCmsTransform | None:
    """The way from a profile's colours to sRGB; None where there is nothing to do or nothing can be done.

    Nothing to do: a grid of colours is moved by no more than one level of 255, as by every common sRGB profile.
    Nothing can be done: the profile is broken, or is one for other colours than the image has.
    """
    from PIL import ImageCms

    try:
        origin = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        transform = ImageCms.ImageCmsTransform(origin, target, mode, "RGB", ImageCms.Intent.PERCEPTUAL)
        if mode == "CMYK":
            return transform
        probe = _probe(mode)
        moved = np.asarray(transform.apply(probe), np.int16) - np.asarray(probe.convert("RGB"), np.int16)
    except (OSError, TypeError, ValueError, ImageCms.PyCMSError):
        return None
    return transform if np.abs(moved).max() > 1 else None


def _probe(mode: str) -> Image.Image:
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.linspace(0, 255, _PROBE_LEVELS).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1)
    return Image.fromarray(grid.reshape(1, -1, 3))


def _from_numbers(image: Image.Image, depth_range: DepthRange | None) -> Image.Image:
    """Grey levels of 16 bits, or real numbers from 0 to 1 -> 8-bit grey. Other numbers have no agreed meaning."""
    own = own_range(image)
    low, high = own if depth_range is None else depth_range
    values, top = np.asarray(image), _top(image)
    factor = 255.0 / ((high - low) * top) if high > low else 0.0
    grey = np.empty(values.shape, np.uint8)
    # By rows: the numbers in between take eight bytes a pixel, which for all pixels at once could be gigabytes.
    for start in range(0, len(values), _ROWS):
        rows = slice(start, start + _ROWS)
        grey[rows] = np.rint(((values[rows].astype(np.float64) - low * top) * factor).clip(0, 255))
    return Image.fromarray(grey)
