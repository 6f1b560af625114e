"""Every content that a folder of images may hold against all expectation, in one table, made here and now.

``plant(folder)`` writes one file per row of ``FAULTS`` into class folders and returns what each of them is. A row says
what the decoder must make of the file: ``problem`` is how its refusal begins, or None where it is a proper image of
upright ``size``; ``checks`` are the validation's checks that must name the file. All pictures are unlike.
To add a fault, add a row.
"""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin

from tests.conftest import picture
from tests.modalities.image import profiles

SIZE = (64, 48)
CLASSES = ("ants", "bees")
SUFFIX = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "BMP": "bmp", "GIF": "gif", "TIFF": "tif", "HEIF": "heic"}
New = Callable[[], Image.Image]

ALL_READABLE = "; graft reads JPEG, PNG, WebP, HEIC, BMP, GIF and TIFF"
CUT = "the image is damaged: its end is missing ("


@dataclass(frozen=True)
class Fault:
    """One planted file.

    Attributes:
        name: its file name.
        make: gives its bytes; it is handed what gives pictures, each unlike all others.
        problem: how the message of its refusal begins; None where it is an image.
        size: upright width and height where it is an image.
        checks: the validation's checks that name it.
    """

    name: str
    make: Callable[[New], bytes]
    problem: str | None = None
    size: tuple[int, int] = SIZE
    checks: tuple[str, ...] = ()

    def data(self) -> bytes:
        """The file's bytes, always the same."""
        seeds = itertools.count(zlib.crc32(self.name.encode()))
        return self.make(lambda: picture(next(seeds), SIZE))


def plant(folder: Path) -> dict[str, Fault]:
    """Write all faults into ``folder/<class>/``; return the row of each by its path relative to ``folder``."""
    planted = {}
    for label in CLASSES:
        (folder / label).mkdir(parents=True, exist_ok=True)
    for number, fault in enumerate(FAULTS):
        path = f"{CLASSES[number % len(CLASSES)]}/{fault.name}"
        (folder / path).write_bytes(fault.data())
        planted[path] = fault
    return planted


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    """An image as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def stored(upright: Image.Image, orientation: int) -> Image.Image:
    """What a camera stores for ``upright`` under an EXIF orientation: the turn that the reader must undo."""
    undone_by = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    return upright if orientation == 1 else upright.transpose(undone_by[orientation])


def with_orientation(upright: Image.Image, kind: str, orientation: int, **options: object) -> bytes:
    """``upright`` as a file that says by EXIF how it is to be turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    given = exif if kind == "TIFF" else exif.tobytes()
    return encoded(stored(upright, orientation), kind, exif=given, **options)


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG written by hand; ``rows`` are its filtered rows, compressed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def header_bomb(side: int) -> bytes:
    """A valid PNG header of side x side pixels, and next to nothing behind it."""
    return png(side, side, 8, 2, zlib.compress(bytes(100)))


def real_bomb(side: int) -> bytes:
    """A whole PNG of side x side black pixels in a few kB."""
    return png(side, side, 1, 0, zlib.compress(bytes(1 + -(-side // 8)) * side))


def rgb16_png(values: np.ndarray) -> bytes:
    """A PNG of 16-bit colour, which Pillow cannot write, of values (height, width, 3) of uint16."""
    rows = b"".join(b"\x00" + row.astype(">u2").tobytes() for row in values)
    return png(values.shape[1], values.shape[0], 16, 2, zlib.compress(rows))


def scan_bomb(scans: int) -> bytes:
    """A progressive JPEG that goes over its pixels so many times again, for a few bytes each."""
    whole = encoded(Image.new("L", SIZE), "JPEG", progressive=True)
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * scans + whole[-2:]


def avif() -> bytes:
    """The beginning of an AVIF file."""
    return b"\x00\x00\x00\x18ftypavif\x00\x00\x00\x00mif1avif" + bytes(200)


def psd() -> bytes:
    """A whole Photoshop file of 1 x 1 grey pixel."""
    return b"8BPS" + struct.pack(">H6xHIIHH", 1, 1, 1, 1, 8, 1) + bytes(12) + b"\x00\x00\x80"


def svg() -> bytes:
    """A drawing."""
    return b'\xef\xbb\xbf\n<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9"/></svg>\n'


def srgb() -> bytes:
    """The profile of sRGB, without the time at which it was made."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + bytes(12) + profile[36:]


def _long_text() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "a history of all edits, " * 70_000, zip=True)
    return info


def _sixteen_bits(new: New) -> np.ndarray:
    return np.asarray(new().convert("L")).astype(np.uint16) * 257


def _with_alpha(new: New) -> Image.Image:
    image = new().convert("RGBA")
    image.paste((255, 0, 255, 0), (0, 0, 16, 16))
    return image


def _palette(new: New, kind: str) -> bytes:
    return encoded(new().quantize(32), kind, transparency=0)


def _frames(new: New, kind: str) -> bytes:
    return encoded(new(), kind, save_all=True, append_images=[new(), new()], duration=100)


def _without_adobe_marker(new: New) -> bytes:
    whole = encoded(new().convert("CMYK"), "JPEG")
    start = whole.index(b"\xff\xee")
    return whole[:start] + whole[start + 2 + int.from_bytes(whole[start + 2 : start + 4], "big") :]


def _orientation_tag(value: int) -> bytes:
    return struct.pack(">HHIH", 0x0112, 3, 1, value)


def _cut(kind: str, what: str) -> Fault:
    """A file that lacks its last two bytes, or its second half."""

    def make(new: New) -> bytes:
        whole = encoded(new(), kind)
        return whole[:-2] if what == "cut_2_bytes" else whole[: len(whole) // 2]

    # A small HEIC consists of tables for the most part, without which nothing of it is known.
    problem = "the image is damaged: it begins as HEIC does" if (kind, what) == ("HEIF", "cut_half") else CUT
    return Fault(f"{what}.{SUFFIX[kind]}", make, problem, checks=("decodable",))


def _refused(name: str, make: Callable[[New], bytes], problem: str) -> Fault:
    return Fault(name, make, problem, checks=("decodable",))


FAULTS: tuple[Fault, ...] = (
    _refused("empty.jpg", lambda new: b"", "the image file is empty (0 bytes)"),
    *(_cut(kind, what) for kind in SUFFIX for what in ("cut_2_bytes", "cut_half")),
    _refused(
        "text.jpg", lambda new: b"I am text, and no image.\n" * 30, f"this is not an image but text{ALL_READABLE}"
    ),
    _refused(
        "noise.png", lambda new: bytes(range(255, -1, -1)) * 4, "this is not an image, or one of an unknown format"
    ),
    _refused(
        "without_directory.tif",
        lambda new: encoded(new(), "TIFF", compression="tiff_lzw")[:-2],
        "the image is damaged: it begins as TIFF does",
    ),
    _refused("header_only.jpg", lambda new: b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", CUT),
    _refused("bomb_header.png", lambda new: header_bomb(60_000), "the image is too large: more than twice"),
    _refused("bomb_real.png", lambda new: real_bomb(12_000), "the image is too large: 12000 x 12000 pixels"),
    _refused("bomb_scans.jpg", lambda new: scan_bomb(1000), "the image is a JPEG of more than 100 scans"),
    *(
        _refused(
            f"{name}.{suffix}",
            lambda new, make=make: make(),
            f"this is not an image graft reads but {said}{ALL_READABLE}",
        )
        for name, make, said in (("avif", avif, "AVIF"), ("psd", psd, "Photoshop (PSD)"), ("svg", svg, "SVG"))
        for suffix in (name, "jpg")
    ),
    _refused(
        "strip.png",
        lambda new: encoded(Image.linear_gradient("L").resize((3_000, 1)), "PNG"),
        "the image is a strip of 3000 x 1 pixels, and a side may be at most 100 times the other",
    ),
    Fault(
        "line.png",
        lambda new: encoded(Image.linear_gradient("L").resize((100, 1)), "PNG"),
        size=(100, 1),
        checks=("resolution",),
    ),
    Fault("long_text.png", lambda new: encoded(new(), "PNG", pnginfo=_long_text())),
    Fault("dot.png", lambda new: encoded(Image.new("RGB", (1, 1), "teal"), "PNG"), size=(1, 1), checks=("resolution",)),
    Fault("cmyk_adobe_inverted.jpg", lambda new: encoded(new().convert("CMYK"), "JPEG")),
    Fault("cmyk_without_marker.jpg", _without_adobe_marker),
    Fault("cmyk.tif", lambda new: encoded(new().convert("CMYK"), "TIFF")),
    Fault("grey_16_bits.png", lambda new: encoded(Image.fromarray(_sixteen_bits(new)), "PNG")),
    Fault("grey_16_bits.tif", lambda new: encoded(Image.fromarray(_sixteen_bits(new)), "TIFF")),
    Fault("colour_16_bits.png", lambda new: rgb16_png(np.asarray(new()).astype(np.uint16) * 257)),
    Fault("palette_transparent.png", lambda new: _palette(new, "PNG")),
    Fault("palette_transparent.gif", lambda new: _palette(new, "GIF")),
    Fault("grey_with_alpha.png", lambda new: encoded(_with_alpha(new).convert("LA"), "PNG")),
    Fault("colour_with_alpha.png", lambda new: encoded(_with_alpha(new), "PNG")),
    *(
        Fault(f"animated.{SUFFIX[kind]}", lambda new, kind=kind: _frames(new, kind), checks=("one_frame",))
        for kind in ("GIF", "WEBP", "PNG", "TIFF")
    ),
    *(
        Fault(
            f"exif_{orientation}.{SUFFIX[kind]}",
            lambda new, kind=kind, orientation=orientation: with_orientation(new(), kind, orientation),
        )
        for kind in ("JPEG", "PNG", "WEBP", "TIFF")
        for orientation in range(1, 9)
    ),
    Fault(
        "exif_9.jpg", lambda new: with_orientation(new(), "JPEG", 1).replace(_orientation_tag(1), _orientation_tag(9))
    ),
    Fault("exif_broken.jpg", lambda new: encoded(new(), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")),
    *(
        Fault(f"icc_broken.{SUFFIX[kind]}", lambda new, kind=kind: encoded(new(), kind, icc_profile=srgb()[:200]))
        for kind in ("JPEG", "PNG", "WEBP", "TIFF")
    ),
    Fault("icc_no_profile.jpg", lambda new: encoded(new(), "JPEG", icc_profile=b"no profile at all")),
    Fault("icc_of_other_colours.jpg", lambda new: encoded(new(), "JPEG", icc_profile=profiles.grey(2.2))),
    Fault("icc_adobe_rgb.jpg", lambda new: encoded(new(), "JPEG", icc_profile=profiles.adobe_rgb())),
    Fault("icc_grey.png", lambda new: encoded(new().convert("L"), "PNG", icc_profile=profiles.grey(1.8))),
    Fault(
        "icc_cmyk.jpg", lambda new: encoded(new().convert("CMYK"), "JPEG", icc_profile=profiles.cmyk((60, -40, -40)))
    ),
)
