"""What lies beside a PNG's pixels says nothing against them: long texts and profiles, broken checksums of texts."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from graft.core.errors import DataError
from graft.modalities.image.decode import decode, decode_fully, upright_size
from tests.conftest import picture
from tests.modalities.image.faults import encoded

SIZE = (48, 32)
LONG = b"a history of all edits, " * 70_000  # 1.7 MB


def chunk(kind: bytes, data: bytes, checksum: int | None = None) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum or zlib.crc32(kind + data))


def with_chunk(added: bytes, before: bytes = b"IDAT") -> bytes:
    """A PNG with one chunk more."""
    whole = encoded(picture(5, SIZE), "PNG")
    place = whole.index(before) - 4
    return whole[:place] + added + whole[place:]


TEXTS = {
    "tEXt": chunk(b"tEXt", b"Comment\0" + LONG),
    "zTXt": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(LONG)),
    "iTXt": chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(LONG)),
    "compressed XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(LONG)),
    "EXIF as text": chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(LONG)),
    "unknown compression": chunk(b"zTXt", b"Comment\0\7" + LONG[:100]),
    "bad checksum": chunk(b"tEXt", b"Comment\0hello", checksum=1),
    "called like a setting": chunk(b"tEXt", b"transparency\0hello"),
    "profile": chunk(b"iCCP", b"of a printer\0\0" + zlib.compress(LONG)),
}


@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
@pytest.mark.parametrize("text", TEXTS)
def test_long_and_broken_texts_are_passed_over(text: str, before: bytes) -> None:
    data = with_chunk(TEXTS[text], before)
    assert np.array_equal(np.asarray(decode(data)), np.asarray(picture(5, SIZE)))
    assert decode_fully(data).format == "PNG"
    assert upright_size(data) == SIZE


def test_texts_of_more_than_all_that_pillow_takes_are_passed_over() -> None:
    data = with_chunk(chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1 << 20))) * 70)
    assert np.array_equal(np.asarray(decode(data)), np.asarray(picture(5, SIZE)))


def test_orientation_in_a_text_still_turns_the_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    raw = exif.tobytes()
    hexed = b"\nexif\n%8d\n" % len(raw) + raw.hex().encode()
    for text in (
        chunk(b"tEXt", b"Raw profile type exif\0" + hexed),
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(hexed)),
        chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<rdf tiff:Orientation="6"/>'),
    ):
        assert decode(with_chunk(text)).size == SIZE[::-1]


def test_what_is_damaged_is_still_refused() -> None:
    whole = with_chunk(TEXTS["zTXt"])
    for data in (whole[:-3], whole[: len(whole) // 2], with_chunk(chunk(b"ABCD", b"critical", checksum=1))):
        with pytest.raises(DataError, match="the image is damaged"):
            decode(data)
