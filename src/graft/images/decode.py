"""The only place that opens an image: bytes or a file -> an upright RGB image, or a DataError that says why not.

What is done, in this order, and stated here because training, evaluation and serving all rely on it:

1. Only JPEG, PNG, WebP, BMP, GIF and TIFF are opened; the name of a file says nothing, its bytes do.
2. The size is read from the header, and more than ``MAX_PIXELS`` are refused before anything is decoded.
3. The whole image is decoded (Pillow's ``verify()`` passes truncated files); of an animation the first frame.
4. It is turned upright by its EXIF orientation.
5. 16-bit grey levels are scaled by 1/257 (``convert`` would clip them); colour of 16 bits keeps its high byte.
6. Transparent pixels are flattened on white; palettes, grey and CMYK become RGB.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from graft.errors import DataError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
MAX_PIXELS = 100_000_000
MAX_BYTES = 1 << 30
BACKGROUND = (255, 255, 255)

_READABLE = "JPEG, PNG, WebP, BMP, GIF and TIFF"
_REMEDY = "save it again as JPEG or PNG, or take it out"
# First bytes (from an offset) of what people often take for one of the formats above.
_FOREIGN = (
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypheix", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypavif", "AVIF"),
    (0, b"8BPS", "Photoshop (PSD)"),
    (0, b"%PDF", "PDF"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML, perhaps SVG"),
    (0, b"<!DOCTYPE", "HTML"),
    (0, b"<html", "HTML"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Decoded:
    """An image and what its file said about itself.

    Attributes:
        image: upright RGB.
        format: ``JPEG``, ``PNG``, ...
        mode: Pillow's mode before it became RGB, such as ``L``, ``P``, ``CMYK``, ``I;16``.
        frames: how many frames the file holds; only the first is used.
    """

    image: Image.Image
    format: str
    mode: str
    frames: int


def decode(image: Path | bytes) -> Image.Image:
    """Decode a file, or its bytes, to an upright RGB image.

    Raises:
        DataError: whatever is wrong with it; no other exception leaves this function.
    """
    return decode_fully(image).image


def decode_fully(image: Path | bytes) -> Decoded:
    """Like :func:`decode`, with format, mode and number of frames (one pass serves the manifest)."""
    where = image if isinstance(image, Path) else None
    try:
        data = image if isinstance(image, bytes) else read_bytes(image)
        if not data:
            raise DataError("the image file is empty (0 bytes)", where=where, remedy=_REMEDY)
        with _quiet(), Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            _check_size(opened, where)
            opened.load()
            mode = opened.mode
            rgb = _rgb(_upright(opened), where)
            # A JPEG that carries a second picture (MPO, from phones) is a JPEG to everybody else.
            kind = "JPEG" if opened.format == "MPO" else opened.format or ""
            return Decoded(rgb, kind, mode, 1 if kind == "JPEG" else _count_frames(opened))
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(f"{_what_it_is(data)}; graft reads {_READABLE}", where=where, remedy=_REMEDY) from None
    except Image.DecompressionBombError:
        raise _too_large("more than twice Pillow's own limit of", where) from None
    except MemoryError:
        raise DataError("the image does not fit into memory", where=where, remedy="make it smaller") from None
    except Exception as error:  # decoders meet damaged bytes with OSError, SyntaxError, struct.error, ValueError, ...
        reason = str(error) or type(error).__name__
        raise DataError(f"the image is damaged: {reason}", where=where, remedy=_REMEDY) from None


def read_bytes(path: Path) -> bytes:
    """The bytes of a regular file of at most ``MAX_BYTES``; a pipe or device, which would hang, is refused.

    Raises:
        DataError: there is no such file, or it cannot be read.
    """
    try:
        if not path.is_file():
            missing = not path.exists()
            raise DataError("there is no such file" if missing else "this is not a file", where=path)
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"the file is larger than {MAX_BYTES >> 20} MiB", where=path, remedy=_REMEDY)
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"the file cannot be read: {reason}", where=path, remedy="check that it is there and may be read"
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings on odd files to itself: what matters becomes a DataError.

    Filters are shared by all threads, and two threads here may restore each other's; that can only leave this one
    filter behind, which hides nothing but Pillow's warnings.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
        yield


def _too_large(size: str, where: Path | None) -> DataError:
    return DataError(
        f"the image is too large: {size} pixels, and the most is {MAX_PIXELS // 1_000_000} million",
        where=where,
        remedy="make it smaller, or take it out",
    )


def _check_size(opened: Image.Image, where: Path | None) -> None:
    width, height = opened.size
    if width * height > MAX_PIXELS:
        raise _too_large(f"{width} x {height}", where)


def _what_it_is(data: bytes) -> str:
    for offset, magic, name in _FOREIGN:
        if data[offset : offset + len(magic)] == magic:
            return f"this is not an image graft reads but {name}"
    if b"\x00" not in data[:512]:
        return "this is not an image but text"
    return "this is not an image, or one of an unknown format"


def _upright(opened: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(opened.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken EXIF says nothing about orientation, and nothing against the pixels
        return opened
    return opened if turn is None else opened.transpose(turn)


def _count_frames(opened: Image.Image) -> int:
    try:
        return int(getattr(opened, "n_frames", 1))
    except Exception:  # the frames after the first are not used, so damage there is no harm
        return 2


def _rgb(image: Image.Image, where: Path | None) -> Image.Image:
    """Any mode -> RGB, with transparency flattened on white."""
    if image.mode.startswith("I") or image.mode == "F":
        return _from_numbers(image, where)
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        coloured = image.convert("RGBA")
        flat = Image.new("RGB", coloured.size, BACKGROUND)
        flat.paste(coloured, mask=coloured.getchannel("A"))
        return flat
    # A copy even where nothing changes: the file behind `image` is about to be closed.
    return image.copy() if image.mode == "RGB" else image.convert("RGB")


def _from_numbers(image: Image.Image, where: Path | None) -> Image.Image:
    """Grey levels of 16 bits, or real numbers from 0 to 1 -> RGB. Other ranges have no agreed meaning."""
    values = np.asarray(image, dtype=np.float64)
    top = 1.0 if image.mode == "F" else 65535.0
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > top:
        raise DataError(
            f"the image holds numbers from {values.min():g} to {values.max():g} (mode {image.mode}), "
            f"and only 0 to {top:g} can be read as grey levels",
            where=where,
            remedy="scale it to 8 or 16 bits",
        )
    return Image.fromarray(np.rint(values * (255.0 / top)).astype(np.uint8)).convert("RGB")
