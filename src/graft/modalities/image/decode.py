"""The only place that opens an image: bytes or a file -> an upright sRGB image, or a DataError that says why not.

What is done, in this order, and stated here because training, evaluation and serving all rely on it:

1. Only JPEG, PNG, WebP, HEIC (HEIF), BMP, GIF and TIFF are opened; the name of a file says nothing, its bytes do.
2. The size is read from the header, and more than ``MAX_PIXELS`` are refused before anything is decoded; so is a
   strip whose sides differ by more than ``MAX_RATIO``, of which no square shows anything, and a JPEG of more than
   ``MAX_SCANS`` scans, which could take hours. Decoding takes up to 16 bytes of memory a pixel.
3. A caller may say the least shorter side that it needs. A JPEG is then decoded at 1/2, 1/4 or 1/8 of its size, the
   smallest that has at least ``MARGIN`` times that side; resized to it, it is nearly what the whole one would be.
4. The image is decoded to its end (Pillow's ``verify()`` passes truncated files); of an animation the first frame.
   A file that was cut off is refused, also where all pixels are there and only the end mark is not (JPEG, PNG, GIF):
   whatever cut it may have done more. What follows after the end mark is no harm, nor are damaged later frames, nor
   texts of a PNG, whatever their length.
5. 16-bit grey levels are scaled by 1/257 (``convert`` would clip them), or from a range that the caller names, such as
   that of the training images (``image.depth_scaling``); colour of 16 bits keeps its high byte.
6. Colours become sRGB by the ICC profile (perceptual intent). A profile that is broken or for other colours than the
   image has is passed over, and one that is sRGB itself costs nothing. Other statements about colour, such as PNG's
   gamma, are not read. CMYK without a profile is mixed as Pillow does; in a JPEG it is inverted, as Adobe writes it.
7. Transparent pixels are flattened on white; palettes, grey and all else become RGB.
8. It is turned upright by its EXIF orientation (HEIC: by libheif); broken EXIF is passed over.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError
from pillow_heif import register_heif_opener

from graft.core.errors import DataError
from graft.core.packed_files import MAX_BYTES, StoredFile, read_bytes
from graft.modalities.image.colour import FULL_DEPTH, DepthRange, is_deep, own_range, to_srgb
from graft.modalities.image.signatures import end_is_missing, scans_of, what_is_damaged, what_it_is, without_texts

FORMATS = ("JPEG", "PNG", "WEBP", "HEIF", "BMP", "GIF", "TIFF")
# Thumbnails inside a file are not decoded.
register_heif_opener(thumbnails=False)
MAX_PIXELS = 100_000_000
# Longer side over shorter: panoramas have up to 20, lines of text up to 50.
MAX_RATIO = 100
# Progressive JPEGs have about ten. Each goes over all pixels, and may be only a few hundred bytes.
MAX_SCANS = 100
# Of 130 photographs at 12 megapixels, all kept their label of two classes and 128 their label of ImageNet's 1000;
# probabilities move by 0.013 on average, and with a margin of 1, which is a quarter faster, by 0.022.
MARGIN = 2

_REMEDY = "save it again as JPEG or PNG, or take it out"
_SMALLER = "make it smaller, or take it out"
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
_SIDEWAYS = 5  # this orientation and those above it swap width and height


@dataclass(frozen=True)
class Decoded:
    """An image and what its file said about itself.

    Attributes:
        image: upright RGB, in sRGB; perhaps smaller than the file's where a least side was given.
        width, height: of the whole image, upright, pixels.
        format: ``JPEG``, ``PNG``, ...
        mode: Pillow's mode before it became RGB, such as ``L``, ``P``, ``CMYK``, ``I;16``.
        frames: how many frames the file holds; only the first is used.
        depth_range: of a deep image, the least and largest of its numbers as shares of what their type holds.
        numbers: of a deep image the numbers themselves, upright, which are unlike where ``image`` may be alike.
    """

    image: Image.Image
    width: int
    height: int
    format: str
    mode: str
    frames: int
    depth_range: DepthRange | None = None
    numbers: Image.Image | None = None


def decode(
    image: StoredFile | bytes, *, least_side: int | None = None, depth_range: DepthRange | None = FULL_DEPTH
) -> Image.Image:
    """Decode a file, or its bytes, to an upright sRGB image.

    Args:
        image: a file, loose or packed, or its bytes.
        least_side: the pixels that are needed of the shorter side, so that a large JPEG is decoded at a fraction of
            its size, several times faster. None decodes every pixel. Equal sides give equal pixels.
        depth_range: what becomes black and white of more than 8 bits, as shares of what their type holds; None: the
            least and largest of the image, which is right for showing it to people.

    Raises:
        DataError: whatever is wrong with it; no other exception leaves this function.
    """
    with _opened(image) as opened:
        return _decoded(opened, least_side, depth_range)[0]


def decode_for(
    image: StoredFile | bytes, least_sides: Iterable[int], depth_range: DepthRange | None = FULL_DEPTH
) -> dict[int, Image.Image]:
    """What :func:`decode` gives for each of the least sides; those of equal reduction share one decoding.

    Raises:
        DataError: as :func:`decode`.
    """
    sides = sorted(set(least_sides))
    with _opened(image) as opened:
        reductions = [_reduction(opened, side) for side in sides]
    a_side_of = dict(zip(reductions, sides, strict=True))
    images = {
        reduction: decode(image, least_side=side, depth_range=depth_range) for reduction, side in a_side_of.items()
    }
    return {side: images[reduction] for side, reduction in zip(sides, reductions, strict=True)}


def decode_fully(image: StoredFile | bytes, *, least_side: int | None = None) -> Decoded:
    """Like :func:`decode` by the image's own range, with all that the manifest wants to know of it in one pass."""
    with _opened(image) as opened:
        rgb, mode, (width, height) = _decoded(opened, least_side, None)
        # A JPEG that carries a second picture (MPO, from phones) is a JPEG to everybody else.
        kind = "JPEG" if _is_jpeg(opened) else opened.format or ""
        depth = own_range(opened) if is_deep(opened) else None
        numbers = _turned(opened.convert("F" if mode == "F" else "I"), opened) if is_deep(opened) else None
        frames = 1 if kind == "JPEG" else _count_frames(opened)
        return Decoded(rgb, width, height, kind, mode, frames, depth, numbers)


def upright_size(data: bytes) -> tuple[int, int]:
    """Upright width and height in pixels of an image's bytes, from the header alone: for what was decoded already.

    Raises:
        DataError: it has no header.
    """
    try:
        with _quiet(), _open(data) as opened:
            width, height = opened.size
            return (height, width) if _orientation(opened) >= _SIDEWAYS else (width, height)
    except Exception:  # as in _opened
        raise DataError(what_it_is(data), remedy=_REMEDY) from None


@contextmanager
def _opened(image: StoredFile | bytes) -> Iterator[ImageFile.ImageFile]:
    """The opened file, its header read and its size checked; whatever goes wrong until it is closed is a DataError."""
    where = None if isinstance(image, bytes) else image
    data = image if isinstance(image, bytes) else read_bytes(image)
    try:
        if not data:
            raise DataError("the image file is empty (0 bytes)", remedy=_REMEDY)
        with _quiet(), _open(data) as opened:
            _check_size(opened)
            if _is_jpeg(opened):
                _check_scans(data)
            yield opened
            if end_is_missing(opened.format or "", data):
                raise OSError("truncated")
    except DataError as error:
        raise DataError(error.what, where=where, remedy=error.remedy) from None
    except UnidentifiedImageError:
        raise DataError(what_it_is(data), where=where, remedy=_REMEDY) from None
    except Image.DecompressionBombError:
        raise DataError(_too_large("more than twice Pillow's own limit of"), where=where, remedy=_SMALLER) from None
    except MemoryError:
        raise DataError("the image does not fit into memory", where=where, remedy=_SMALLER) from None
    except Exception as error:  # decoders meet damaged bytes with OSError, SyntaxError, struct.error, ValueError, ...
        reason = what_is_damaged(data, str(error) or type(error).__name__)
        raise DataError(reason, where=where, remedy=_REMEDY) from None


def _open(data: bytes) -> ImageFile.ImageFile:
    return Image.open(io.BytesIO(without_texts(data, PngImagePlugin.MAX_TEXT_CHUNK)), formats=FORMATS)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's warnings on odd files to itself: what matters becomes a DataError.

    Filters are shared by all threads, and two threads here may restore each other's; that can only leave this one
    filter behind, which hides nothing but Pillow's warnings.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL(\.|$)")
        yield


def _too_large(size: str) -> str:
    return f"the image is too large: {size} pixels, and the most is {MAX_PIXELS // 1_000_000} million"


def _check_size(opened: Image.Image) -> None:
    width, height = opened.size
    if width * height > MAX_PIXELS:
        raise DataError(_too_large(f"{width} x {height}"), remedy=_SMALLER)
    if max(width, height) > MAX_RATIO * min(width, height):
        raise DataError(
            f"the image is a strip of {width} x {height} pixels, and a side may be at most {MAX_RATIO} times the other",
            remedy="cut it into pieces, or take it out",
        )


def _check_scans(data: bytes) -> None:
    scans, has_end = scans_of(data, MAX_SCANS)
    if scans > MAX_SCANS:
        raise DataError(f"the image is a JPEG of more than {MAX_SCANS} scans", remedy=_REMEDY)
    if not has_end:
        raise OSError("truncated")


def _is_jpeg(opened: ImageFile.ImageFile) -> bool:
    return opened.format in {"JPEG", "MPO"}


def _reduction(opened: ImageFile.ImageFile, least_side: int) -> int:
    """By how much the file is to be reduced while it is decoded: 1, 2, 4 or 8."""
    if not _is_jpeg(opened):
        return 1
    most = min(opened.size) / (MARGIN * least_side)
    return next((step for step in (8, 4, 2) if step <= most), 1)


def _decoded(
    opened: ImageFile.ImageFile, least_side: int | None, depth_range: DepthRange | None
) -> tuple[Image.Image, str, tuple[int, int]]:
    """The upright RGB image, the mode it had, and the whole image's upright size."""
    size = opened.size
    reduction = 1 if least_side is None else _reduction(opened, least_side)
    if reduction > 1:
        opened.draft(None, (size[0] // reduction, size[1] // reduction))
    if _is_jpeg(opened):
        # In one piece, not in 64 kB: a tenth faster, for the decoder need not go back at every seam.
        opened.decodermaxblock = MAX_BYTES
    opened.load()
    if reduction == 1:
        size = opened.size  # Pillow turns a TIFF by itself while loading it
    if _orientation(opened) in range(_SIDEWAYS, 9):
        size = (size[1], size[0])
    rgb = _turned(to_srgb(opened, depth_range), opened)
    # A copy even where nothing changed: the file behind `opened` is about to be closed.
    return rgb.copy() if rgb is opened else rgb, opened.mode, size


def _turned(image: Image.Image, opened: Image.Image) -> Image.Image:
    """Upright, by the orientation of the file that it was read from."""
    turn = _UPRIGHT.get(_orientation(opened))
    return image if turn is None else image.transpose(turn)


def _orientation(opened: Image.Image) -> int:
    try:
        return int(opened.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken EXIF says nothing about orientation, and nothing against the pixels
        return 1


def _count_frames(opened: Image.Image) -> int:
    try:
        return int(getattr(opened, "n_frames", 1))
    except Exception:  # the frames after the first are not used, so damage there is no harm
        return 2
