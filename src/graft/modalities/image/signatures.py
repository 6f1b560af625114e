"""What the bytes of a file say without being decoded: what it seems to be, whether it was cut off, how many scans."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".heic", ".heif", ".bmp", ".gif", ".tif", ".tiff"}
)
# Images by their names that graft cannot read: ingested, and reported as undecodable rather than skipped in silence.
UNREADABLE_SUFFIXES = frozenset({".avif", ".psd", ".svg", ".jp2", ".jxl", ".ppm", ".pgm", ".tga"})
READABLE = "JPEG, PNG, WebP, HEIC, BMP, GIF and TIFF"

_PNG = b"\x89PNG\r\n\x1a\n"
# Chunks of unlimited length that do not hold pixels, and the keywords of those that can say how an image is turned.
_PNG_TEXTS = {b"tEXt", b"zTXt", b"iTXt", b"iCCP"}
_ORIENTING = {b"Raw profile type exif", b"XML:com.adobe.xmp"}

# First bytes (from an offset) of what people often take for one of the formats above.
_FOREIGN = (
    (4, b"ftypavi", "AVIF"),
    (4, b"ftyp", "a video (MP4 or like it)"),
    (0, b"8BPS", "Photoshop (PSD)"),
    (0, b"%PDF", "PDF"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
)
# How files of text begin, spaces and a byte order mark apart.
_TEXTS = (
    (b"<svg", "SVG"),
    (b"<?xml", "XML, perhaps SVG"),
    (b"<!doctype svg", "SVG"),
    (b"<!doctype", "HTML"),
    (b"<html", "HTML"),
)
_OURS = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, _PNG, "PNG"),
    (0, b"RIFF", "WebP"),
    (0, b"BM", "BMP"),
    (0, b"GIF8", "GIF"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    *((4, b"ftyp" + brand, "HEIC") for brand in (b"hei", b"hev", b"mif1", b"msf1")),
)
# What every whole file of these formats has at its end. Their decoders do without.
_END_MARKS = {"PNG": b"IEND\xaeB\x60\x82", "GIF": b"\x00;"}

# What can end a JPEG's segment or scan: every marker but restarts, which are part of a scan, and the first.
_JPEG_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA


def what_it_is(data: bytes) -> str:
    """A sentence about bytes that no decoder would take."""
    if (ours := _name_of(data, _OURS)) is not None:
        return f"the image is damaged: it begins as {ours} does, but what must follow is not there"
    if (name := _name_of(data, _FOREIGN)) is not None:
        return f"this is not an image graft reads but {name}; graft reads {READABLE}"
    head = data[:512]
    if b"\x00" not in head:
        begins = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
        kind = next((name for start, name in _TEXTS if begins.startswith(start)), None)
        said = f"not an image graft reads but {kind}" if kind else "not an image but text"
        return f"this is {said}; graft reads {READABLE}"
    return f"this is not an image, or one of an unknown format; graft reads {READABLE}"


def suffix_of(data: bytes) -> str:
    """What a file of these bytes is called after the dot: ``jpeg``, ``png``, ..., or ``bin``."""
    return (_name_of(data, _OURS) or "bin").lower()


def _name_of(data: bytes, signatures: Iterable[tuple[int, bytes, str]]) -> str | None:
    return next((name for offset, magic, name in signatures if data.startswith(magic, offset)), None)


def end_is_missing(kind: str, data: bytes) -> bool:
    """Whether a file whose pixels could be decoded was cut off after them (``kind`` is Pillow's name of the format)."""
    mark = _END_MARKS.get(kind)
    return mark is not None and data.rfind(mark) < 0


def what_is_damaged(data: bytes, reason: str) -> str:
    """A sentence about an image on which a decoder gave up for ``reason``."""
    # A WebP file says how long it is; its decoder does not say that this is what it misses.
    short_webp = data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") + 8 > len(data)
    if short_webp or "truncated" in reason.lower() or "unexpected end of file" in reason.lower():
        return f"the image is damaged: its end is missing ({len(data):,} bytes are there)"
    return f"the image is damaged: {reason}"


def scans_of(data: bytes, most: int) -> tuple[int, bool]:
    """How often a JPEG goes over its pixels, counted up to ``most`` + 1, and whether its end mark was found.

    Decoders often, and not always, find the pixels whole where the mark is missing.
    """
    place, scans = 2, 0
    while scans <= most and (marker := _JPEG_MARKER.search(data, place)):
        kind = data[marker.start() + 1]
        if kind == _END_OF_IMAGE:
            return scans, True
        scans += kind == _START_OF_SCAN
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return scans, False


def without_texts(data: bytes, longest: int) -> bytes:
    """A PNG without its texts, which say nothing about its pixels; other bytes as they are.

    Texts from which the orientation is read stay where they have at most ``longest`` bytes, and so do colour profiles:
    what is longer Pillow takes for an attack, and refuses the whole file.
    """
    if not data.startswith(_PNG):
        return data
    place, kept, start = len(_PNG), [], 0
    while place + 12 <= len(data):
        kind = data[place + 4 : place + 8]
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        if kind in _PNG_TEXTS and not _is_short(kind, data[place + 8 : end - 4], longest):
            kept.append(data[start:place])
            start = end
        if kind == b"IEND":
            break
        place = end
    return b"".join([*kept, data[start:]])


def _is_short(kind: bytes, content: bytes, longest: int) -> bool:
    """Whether a text that says something about the pixels, or a profile, has at most ``longest`` bytes."""
    keyword, _, text = content.partition(b"\0")
    if kind != b"iCCP" and keyword not in _ORIENTING:
        return False
    if kind in {b"tEXt", b"iTXt"}:
        return len(text) <= longest and (kind == b"tEXt" or text[:1] == b"\0")  # not compressed, as XMP must be
    inflater = zlib.decompressobj()
    try:
        inflater.decompress(text[1:], longest)
    except zlib.error:
        return False
    return not inflater.unconsumed_tail
