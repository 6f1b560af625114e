"""What is known of one image file: one read and one decode give its size, hashes, brightness, contrast, sharpness."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from graft.core.errors import DataError
from graft.core.file_identity import Reading, read_steadily
from graft.core.packed_files import StoredFile
from graft.modalities.image.decode import decode_fully

if TYPE_CHECKING:
    from numpy.typing import NDArray

HASH_SIDE = 16
HASH_BITS = HASH_SIDE * HASH_SIDE
# The side of the small picture whose coarsest waves are compared: imagehash's `highfreq_factor` of 4.
_HASHED_SIDE = 4 * HASH_SIDE
# A perceptual hash compares the coarse waves of a 64 x 64 picture. Below this side, or with less contrast than this,
# there are none, and unlike images get like hashes.
HASH_MIN_SIDE = 32
HASH_MIN_CONTRAST = 0.01
# Tones and sharpness are measured on a copy with at most this longer side: enough for both, and 20 times faster on
# photographs from a phone.
MEASURED_SIDE = 1024


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts of one image; None where it could not be decoded.

    Attributes:
        width, height: pixels, upright.
        mode: Pillow's mode in the file, such as ``RGB``, ``L``, ``I;16``.
        format: ``JPEG``, ``PNG``, ...
        frames: frames in the file; only the first is used.
        depth_low, depth_high: of more than 8 bits the least and largest number, 0 to 1 of what their type holds; the
            tones below are then measured from this range. Else None.
        bytes: size of the file.
        sha256: of the file.
        pixel_sha256: of the size and the decoded RGB pixels, or a deep image's numbers: equal means the same image,
            whatever the file format, and however deep images are scaled.
        phash: 256-bit perceptual hash as 64 hexadecimal digits; None where it would mean nothing.
        brightness: mean luminance, 0 (black) to 1 (white).
        contrast: standard deviation of the luminance, 0 to 0.5.
        sharpness: standard deviation of the Laplacian, in grey levels of 255.
        entropy: Shannon entropy of the histogram of 256 grey levels, 0 (one level) to 8 bits (all alike often).
        problems: why the image cannot be used, or None.
    """

    width: int | None = None
    height: int | None = None
    mode: str | None = None
    format: str | None = None
    frames: int | None = None
    depth_low: float | None = None
    depth_high: float | None = None
    bytes: int | None = None
    sha256: str | None = None
    pixel_sha256: str | None = None
    phash: str | None = None
    brightness: float | None = None
    contrast: float | None = None
    sharpness: float | None = None
    entropy: float | None = None
    problems: str | None = None


NAMES = tuple(field.name for field in fields(Facts))
# What graft itself writes of an image: no fact of a user's can have such a name.
OWN_COLUMNS = frozenset({"path", "label", "split", "group", "source", "quarantine", "fold", *NAMES})


def examine(path: StoredFile) -> Facts:
    """Read and decode one file. Never raises for a bad file: what is wrong is in ``problems``."""
    try:
        return facts_of(read_steadily(path))
    except DataError as error:
        return Facts(problems=error.what)


def facts_of(reading: Reading) -> Facts:
    """The facts of a file that was read; they follow from its bytes alone."""
    data = reading.data
    try:
        decoded = decode_fully(data)
    except DataError as error:
        return Facts(bytes=len(data), sha256=reading.sha256, problems=error.what)
    image = decoded.image
    picture = _grey(image)
    grey = np.asarray(picture)
    tones = Tones.of(picture.histogram())
    low, high = decoded.depth_range or (None, None)
    return Facts(
        width=image.width,
        height=image.height,
        mode=decoded.mode,
        format=decoded.format,
        frames=decoded.frames,
        depth_low=low,
        depth_high=high,
        bytes=len(data),
        sha256=reading.sha256,
        pixel_sha256=pixel_hash(image if decoded.numbers is None else decoded.numbers),
        phash=perceptual_hash(grey, tones.contrast),
        brightness=tones.brightness,
        contrast=tones.contrast,
        sharpness=sharpness(grey),
        entropy=tones.entropy,
    )


@dataclass(frozen=True, slots=True)
class Tones:
    """What the histogram of grey levels says: brightness (0 to 1), contrast (0 to 0.5) and entropy (0 to 8 bits)."""

    brightness: float
    contrast: float
    entropy: float

    @classmethod
    def of_pixels(cls, pixels: NDArray[np.uint8]) -> Tones:
        """Of the luminance of an RGB image, uint8 (height, width, 3)."""
        return cls.of(Image.fromarray(pixels).convert("L").histogram())

    @classmethod
    def of(cls, histogram: list[int]) -> Tones:
        """From the counts of the levels 0 to 255.

        Shannon's H = -sum p log2 p (1948), with p = n / N written as log2 N - sum n log2 n / N. Everything but the
        logarithms is summed in whole numbers.
        """
        counts = np.asarray(histogram, dtype=np.int64)
        pixels, levels = int(counts.sum()), np.arange(len(counts))
        total, squares = int(counts @ levels), int(counts @ (levels * levels))
        found = counts[counts > 0]
        entropy = math.log2(pixels) - float(found @ np.log2(found)) / pixels
        contrast = math.sqrt(pixels * squares - total * total) / pixels / 255
        return cls(total / pixels / 255, contrast, max(0.0, entropy))


def pixel_hash(image: Image.Image) -> str:
    """SHA-256 of an image's size and pixels."""
    digest = hashlib.sha256(f"{image.width}x{image.height}:".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def perceptual_hash(grey: NDArray[np.uint8], contrast: float) -> str | None:
    """The DCT hash of 16 x 16 waves as 64 hexadecimal digits, or None where it would mean nothing.

    What ``imagehash.phash(image, hash_size=16)`` gives (on photographs 0.8 of the 256 bits differ, at most 4): that one
    rounds the small picture to 256 levels, which decides the bits of waves about as strong as the median. Resampling
    and transform are both linear, so that each side's are one matrix, and only 16 of its 64 waves are needed: five
    times faster on small pictures, where that hash took longer than the decoding.
    """
    if min(grey.shape) < HASH_MIN_SIDE or contrast < HASH_MIN_CONTRAST:
        return None
    waves = _waves(grey.shape[0]) @ grey.astype(np.float64) @ _waves(grey.shape[1]).T
    # Waves that are not in the picture at all are 0 but for rounding, which must not decide a bit.
    waves = np.rint(waves * 1000)
    return np.packbits(waves > np.median(waves)).tobytes().hex()


@lru_cache(maxsize=256)
def _waves(side: int) -> NDArray[np.float64]:
    """(16, side): what each of ``side`` pixels adds to the 16 coarsest waves (DCT-II) of a line made 64 pixels long."""
    # Pillow's own filter, asked what it makes of each single pixel.
    unit = Image.fromarray(np.eye(side, dtype=np.float32))
    resampled = np.array(unit.resize((_HASHED_SIDE, side), Image.Resampling.LANCZOS), dtype=np.float64)
    # It weighs in 32 bits; made to add up to 1 in 64, so that what is even in the picture stays even to the last bit.
    resampled /= resampled.sum(axis=0)
    places = np.arange(_HASHED_SIDE) + 0.5
    cosines = 2 * np.cos(np.pi / _HASHED_SIDE * np.arange(HASH_SIDE)[:, None] * places)
    return np.asarray(cosines @ resampled.T)


def sharpness(grey: NDArray[np.uint8]) -> float:
    """Standard deviation of the 4-neighbour Laplacian of grey levels (0 to 255); 0 for images without an inside."""
    if min(grey.shape) < 3:
        return 0.0
    levels = grey.astype(np.int16)
    waves = levels[:-2, 1:-1] + levels[2:, 1:-1]
    waves += levels[1:-1, :-2]
    waves += levels[1:-1, 2:]
    waves -= levels[1:-1, 1:-1] << 2
    # Whole numbers far below 2**53: these sums are exact, in whatever order a library takes them.
    flat = waves.astype(np.float64).ravel()
    return math.sqrt(flat.size * int(flat @ flat) - int(flat.sum()) ** 2) / flat.size


def _grey(image: Image.Image) -> Image.Image:
    """Luminance (ITU-R 601), reduced by whole steps to at most ``MEASURED_SIDE``."""
    grey = image.convert("L")
    step = -(-max(grey.size) // MEASURED_SIDE)
    return grey.reduce(step) if step > 1 else grey
