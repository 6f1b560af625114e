"""What is known of one image file: one read and one decode give its size, hashes, brightness, contrast, sharpness."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graft.errors import DataError
from graft.images.decode import decode_fully, read_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

HASH_SIDE = 16
HASH_BITS = HASH_SIDE * HASH_SIDE
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
        bytes: size of the file.
        sha256: of the file.
        pixel_sha256: of the size and the decoded RGB pixels: equal means the same image, whatever the file format.
        phash: 256-bit perceptual hash as 64 hexadecimal digits; None where it would mean nothing.
        brightness: mean luminance, 0 (black) to 1 (white).
        contrast: standard deviation of the luminance, 0 to 0.5.
        sharpness: standard deviation of the Laplacian, in grey levels of 255.
        problems: why the image cannot be used, or None.
    """

    width: int | None = None
    height: int | None = None
    mode: str | None = None
    format: str | None = None
    frames: int | None = None
    bytes: int | None = None
    sha256: str | None = None
    pixel_sha256: str | None = None
    phash: str | None = None
    brightness: float | None = None
    contrast: float | None = None
    sharpness: float | None = None
    problems: str | None = None


NAMES = tuple(field.name for field in fields(Facts))


def examine(path: Path) -> Facts:
    """Read and decode one file. Never raises for a bad file: what is wrong is in ``problems``."""
    size, digest = None, None
    try:
        data = read_bytes(path)
        size, digest = len(data), hashlib.sha256(data).hexdigest()
        decoded = decode_fully(data)
    except DataError as error:
        return Facts(bytes=size, sha256=digest, problems=error.what)
    image = decoded.image
    picture = _grey(image)
    grey = np.asarray(picture, dtype=np.float32)
    contrast = float(grey.std() / 255)
    return Facts(
        width=image.width,
        height=image.height,
        mode=decoded.mode,
        format=decoded.format,
        frames=decoded.frames,
        bytes=size,
        sha256=digest,
        pixel_sha256=pixel_hash(image),
        phash=perceptual_hash(picture, contrast),
        brightness=float(grey.mean() / 255),
        contrast=contrast,
        sharpness=sharpness(grey),
    )


def pixel_hash(image: Image.Image) -> str:
    """SHA-256 of an RGB image's size and pixels."""
    digest = hashlib.sha256(f"{image.width}x{image.height}:".encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def perceptual_hash(image: Image.Image, contrast: float) -> str | None:
    """The DCT hash of 16 x 16 waves as 64 hexadecimal digits, or None where it would mean nothing."""
    if min(image.size) < HASH_MIN_SIDE or contrast < HASH_MIN_CONTRAST:
        return None
    import imagehash

    bits = imagehash.phash(image, hash_size=HASH_SIDE).hash
    return np.packbits(bits.ravel()).tobytes().hex()


def sharpness(grey: NDArray[np.float32]) -> float:
    """Standard deviation of the 4-neighbour Laplacian of grey levels (0 to 255); 0 for images without an inside."""
    if min(grey.shape) < 3:
        return 0.0
    centre = grey[1:-1, 1:-1]
    waves = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * centre
    return float(waves.std())


def _grey(image: Image.Image) -> Image.Image:
    """Luminance (ITU-R 601), reduced by whole steps to at most ``MEASURED_SIDE``."""
    grey = image.convert("L")
    step = -(-max(grey.size) // MEASURED_SIDE)
    return grey.reduce(step) if step > 1 else grey
