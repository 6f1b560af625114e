"""One decoder: every mode comes out as upright RGB, and everything bad as a DataError with a message."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graft.core.errors import DataError
from graft.modalities.image.decode import MAX_PIXELS, decode, decode_fully
from tests.conftest import picture
from tests.modalities.image.faults import encoded, header_bomb, png, with_orientation


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF", "BMP", "GIF", "TIFF"])
def test_every_allowed_format_is_decoded(kind: str) -> None:
    decoded = decode_fully(encoded(picture(1), kind))
    assert (decoded.format, decoded.image.mode, decoded.image.size, decoded.frames) == (kind, "RGB", (24, 20), 1)


@pytest.mark.parametrize("kind", ["PPM", "ICO", "TGA", "JPEG2000"])
def test_other_formats_are_refused_although_pillow_knows_them(kind: str) -> None:
    with pytest.raises(DataError, match="graft reads JPEG, PNG, WebP, HEIC, BMP, GIF and TIFF"):
        decode(encoded(picture(1).resize((16, 16)), kind))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_and_not_clipped(kind: str) -> None:
    levels = np.linspace(0, 65535, 256, dtype=np.uint16)[None].repeat(4, axis=0)
    grey = np.asarray(decode(encoded(Image.fromarray(levels), kind)))[0, :, 0]
    assert np.array_equal(grey, np.arange(256))


def test_32_bit_numbers_without_an_agreed_meaning_are_refused() -> None:
    with pytest.raises(DataError, match=r"holds numbers from 0 to 100000 \(mode I\), and only 0 to 65535"):
        decode(encoded(Image.fromarray(np.array([[0, 100000]], dtype=np.int32)), "TIFF"))


def test_real_numbers_from_0_to_1_are_grey_levels() -> None:
    image = decode(encoded(Image.fromarray(np.array([[0.0, 0.5, 1.0]], dtype=np.float32)), "TIFF"))
    assert [image.getpixel((x, 0)) for x in range(3)] == [(0,) * 3, (128,) * 3, (255,) * 3]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_is_flattened_on_white_and_hidden_colour_stays_hidden(mode: str) -> None:
    hidden = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    kind = "TIFF" if mode == "PA" else "PNG"
    assert decode(encoded(hidden.convert("LA" if mode == "PA" else mode), kind)).getpixel((1, 1)) == (255, 255, 255)


def test_a_palette_with_a_transparent_colour_is_flattened_too() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30, 200, 0, 0])
    image.putpixel((0, 0), 1)
    decoded = decode(encoded(image, "PNG", transparency=0))
    assert (decoded.getpixel((0, 0)), decoded.getpixel((1, 1))) == ((200, 0, 0), (255, 255, 255))


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr"])
def test_every_other_mode_becomes_rgb(mode: str) -> None:
    kind = "JPEG" if mode in {"CMYK", "YCbCr"} else "PNG"
    image = decode(encoded(Image.new("RGB", (8, 8), "white").convert(mode), kind))
    assert image.mode == "RGB"
    assert min(image.getpixel((4, 4))) > 250


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF", "TIFF"])
def test_exif_orientation_is_undone(kind: str, orientation: int) -> None:
    # A white corner: where it is after turning says how the image was turned.
    upright = Image.new("RGB", (32, 16))
    upright.paste("white", (0, 0, 8, 8))
    decoded = decode(with_orientation(upright, kind, orientation))
    assert decoded.size == (32, 16)
    corners = [decoded.getpixel(place)[0] > 128 for place in ((3, 3), (28, 3), (3, 12), (28, 12))]
    assert corners == [True, False, False, False]


def test_broken_exif_says_nothing_against_the_pixels() -> None:
    assert decode(encoded(picture(1), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff")).size == (24, 20)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "HEIF", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken_and_the_frames_are_counted(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    decoded = decode_fully(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    red, green, _ = decoded.image.getpixel((8, 8))
    assert (decoded.frames, red > 200, green < 60) == (3, True, True)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "the image file is empty (0 bytes)"),
        (b"hello, I am text", "this is not an image but text; graft reads"),
        (b"\x00\x00\x00\x18ftypheic" + b"\x00" * 20, "the image is damaged: it begins as HEIC does"),
        (b"8BPS\x00\x01" + b"\x00" * 20, "this is not an image graft reads but Photoshop (PSD)"),
        (b"<svg xmlns='x'/>", "this is not an image graft reads but SVG"),
        (b"\x91\x07\xe3\x5c\xb8\x2a\xf4\x66" + b"\x00" * 600, "this is not an image, or one of an unknown format"),
        (encoded(picture(1, (64, 64)), "JPEG")[:400], "the image is damaged: "),
        (encoded(picture(1, (64, 64)), "HEIF")[:-200], "the image is damaged: its end is missing"),
        (encoded(picture(1, (64, 64)), "PNG")[:-200], "the image is damaged: "),
    ],
)
def test_what_is_no_image_is_named(tmp_path: Path, data: bytes, what: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        decode(path)
    assert caught.value.what.startswith(what)
    assert caught.value.where == str(path)
    assert caught.value.remedy == "save it again as JPEG or PNG, or take it out"


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    # 10,001 squared is just over our limit and over the one at which Pillow warns; 60,000 is over where it raises.
    assert MAX_PIXELS < 10_001**2
    with pytest.raises(DataError, match="too large: 10001 x 10001 pixels, and the most is 100 million"):
        decode(header_bomb(10_001))
    with pytest.raises(DataError, match="the image is too large: more than twice"):
        decode(header_bomb(60_000))


def test_odd_shapes_are_images() -> None:
    assert decode(encoded(Image.new("L", (30_000, 300)), "PNG")).size == (30_000, 300)
    assert decode(encoded(Image.new("L", (1, 100)), "PNG")).size == (1, 100)
    assert decode(encoded(Image.new("L", (1, 1)), "PNG")).size == (1, 1)


@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000), (60_000_000, 1), (201, 2)])
def test_a_strip_is_refused_by_its_header(size: tuple[int, int]) -> None:
    with pytest.raises(DataError) as refused:
        decode(png(*size, 8, 2, zlib.compress(bytes(100))))
    assert refused.value.what == (
        f"the image is a strip of {size[0]} x {size[1]} pixels, and a side may be at most 100 times the other"
    )
    assert refused.value.remedy == "cut it into pieces, or take it out"


def test_what_cannot_be_read_is_refused_and_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, what in (("none.jpg", "there is no such file"), ("pipe.jpg", "this is not a file"), (".", "this is not")):
        with pytest.raises(DataError, match=what):
            decode(tmp_path / name)
