"""Statistics of an image: size, tones, sharpness, and the hashes by which copies are found."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from graft.modalities.image.decode import Decoded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

HASH_SIDE = 16
# imagehash's `highfreq_factor` of 4: the side of the small image whose 16 x 16 lowest DCT frequencies are compared.
_RESIZED_SIDE = 4 * HASH_SIDE
# Images below this side or contrast have no such frequencies, and unlike ones would get similar hashes.
HASH_MIN_SIDE = 32
HASH_MIN_CONTRAST = 0.01
# Tones and sharpness are measured on a copy of at most this longer side: 20 times faster on photographs from a phone.
MEASURED_SIDE = 1024


@dataclass(frozen=True, slots=True)
class ImageStats:
    """The manifest's columns about an image.

    Attributes:
        width, height: pixels, upright.
        mode: Pillow's mode in the file, such as ``RGB``, ``L``, ``I;16``.
        format: ``JPEG``, ``PNG``, ...
        frames: frames in the file; only the first is used.
        depth_low, depth_high: of more than 8 bits the least and largest number, 0 to 1 of what their type holds; the
            tones below are then measured from this range. Else None.
        brightness: mean luminance, 0 (black) to 1 (white).
        contrast: standard deviation of the luminance, 0 to 0.5.
        sharpness: standard deviation of the Laplacian, in grey levels of 255.
        entropy: Shannon entropy of the histogram of 256 grey levels, 0 (one level) to 8 bits (all equally frequent).
    """

    width: int
    height: int
    mode: str
    format: str
    frames: int
    depth_low: float | None
    depth_high: float | None
    brightness: float
    contrast: float
    sharpness: float
    entropy: float


@dataclass(frozen=True)
class ImageSample:
    """A decoded image, and what its statistics and its hash are both computed from."""

    decoded: Decoded

    @cached_property
    def grey(self) -> Image.Image:
        """Luminance (ITU-R 601), reduced by whole steps to at most ``MEASURED_SIDE``."""
        grey = self.decoded.image.convert("L")
        step = -(-max(grey.size) // MEASURED_SIDE)
        return grey.reduce(step) if step > 1 else grey

    @cached_property
    def tones(self) -> Tones:
        """Brightness, contrast and entropy."""
        return Tones.of(self.grey.histogram())

    def stats(self) -> ImageStats:
        """Everything but the hashes."""
        decoded, tones = self.decoded, self.tones
        low, high = decoded.depth_range or (None, None)
        return ImageStats(
            decoded.image.width,
            decoded.image.height,
            decoded.mode,
            decoded.format,
            decoded.frames,
            low,
            high,
            tones.brightness,
            tones.contrast,
            sharpness(np.asarray(self.grey)),
            tones.entropy,
        )


@dataclass(frozen=True, slots=True)
class Tones:
    """What the histogram of grey levels says: brightness (0 to 1), contrast (0 to 0.5) and entropy (0 to 8 bits)."""

    brightness: float
    contrast: float
    entropy: float

    @classmethod
    def of_pixels(cls, pixels: Pixels) -> Tones:
        """Of the luminance of an RGB image, uint8 (height, width, 3)."""
        return cls.of(Image.fromarray(pixels).convert("L").histogram())

    @classmethod
    def of(cls, histogram: list[int]) -> Tones:
        """From the counts of the levels 0 to 255; all but the logarithms is summed in whole numbers, so exactly."""
        counts = np.asarray(histogram, dtype=np.int64)
        pixels, levels = int(counts.sum()), np.arange(len(counts))
        total, squares = int(counts @ levels), int(counts @ (levels * levels))
        found = counts[counts > 0]
        entropy = math.log2(pixels) - float(found @ np.log2(found)) / pixels
        contrast = math.sqrt(pixels * squares - total * total) / pixels / 255
        return cls(total / pixels / 255, contrast, max(0.0, entropy))


def pixel_hash(image: Image.Image) -> str:
    """SHA-256 of an image's size and pixels: equal for the same image in another lossless format."""
    digest = hashlib.sha256(f"{image.width}x{image.height}:".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def perceptual_hash(grey: Pixels, contrast: float) -> bytes | None:
    """The DCT hash of ``imagehash.phash(image, hash_size=16)``: 256 bits, or None where it would mean nothing.

    On photographs 0.8 bits differ from imagehash's, at most 4, because that rounds the resized image to 256 levels.
    Resizing and DCT are linear, so here each axis is one matrix product: five times faster on small images, where
    imagehash takes longer than decoding.
    """
    if min(grey.shape) < HASH_MIN_SIDE or contrast < HASH_MIN_CONTRAST:
        return None
    waves = _resize_and_dct(grey.shape[0]) @ grey.astype(np.float64) @ _resize_and_dct(grey.shape[1]).T
    # Frequencies that are absent are 0 but for rounding, which must not decide a bit.
    waves = np.rint(waves * 1000)
    return np.packbits(waves > np.median(waves)).tobytes()


@lru_cache(maxsize=256)
def _resize_and_dct(side: int) -> NDArray[np.float64]:
    """(16, side): a line of ``side`` pixels -> the 16 lowest DCT-II coefficients of the line resized to 64 pixels."""
    # Pillow's own filter, by its response to each single pixel.
    unit = Image.fromarray(np.eye(side, dtype=np.float32))
    resized = np.array(unit.resize((_RESIZED_SIDE, side), Image.Resampling.LANCZOS), dtype=np.float64)
    # Its weights have 32 bits; normalised in 64, so that a constant line stays constant to the last bit.
    resized /= resized.sum(axis=0)
    places = np.arange(_RESIZED_SIDE) + 0.5
    cosines = 2 * np.cos(np.pi / _RESIZED_SIDE * np.arange(HASH_SIDE)[:, None] * places)
    return np.asarray(cosines @ resized.T)


def sharpness(grey: Pixels) -> float:
    """Standard deviation of the 4-neighbour Laplacian of grey levels (0 to 255); 0 for images without an inside."""
    if min(grey.shape) < 3:
        return 0.0
    levels = grey.astype(np.int16)
    laplacian = levels[:-2, 1:-1] + levels[2:, 1:-1]
    laplacian += levels[1:-1, :-2]
    laplacian += levels[1:-1, 2:]
    laplacian -= levels[1:-1, 1:-1] << 2
    # Whole numbers far below 2**53: these sums are exact, in whatever order a library takes them.
    flat = laplacian.astype(np.float64).ravel()
    return math.sqrt(flat.size * int(flat @ flat) - int(flat.sum()) ** 2) / flat.size
