"""What the bytes of a file say without being decoded: what it seems to be, whether it was cut off, how many scans."""

from __future__ import annotations

import re

READABLE = "JPEG, PNG, WebP, BMP, GIF and TIFF"

# First bytes (from an offset) of what people often take for one of the formats above.
_FOREIGN = (
    (4, b"ftyphe", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypmsf1", "HEIC"),
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
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"RIFF", "WebP"),
    (b"BM", "BMP"),
    (b"GIF8", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
)
# What every whole file of these formats has at its end. Their decoders do without.
_END_MARKS = {"PNG": b"IEND\xaeB\x60\x82", "GIF": b"\x00;"}

# What can end a JPEG's segment or scan: every marker but restarts, which are part of a scan, and the first.
_JPEG_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")
_END_OF_IMAGE, _START_OF_SCAN = 0xD9, 0xDA


def what_it_is(data: bytes) -> str:
    """A sentence about bytes that no decoder would take."""
    for offset, magic, name in _FOREIGN:
        if data[offset : offset + len(magic)] == magic:
            return f"this is not an image graft reads but {name}; graft reads {READABLE}"
    head = data[:512]
    if b"\x00" not in head:
        begins = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
        kind = next((name for start, name in _TEXTS if begins.startswith(start)), None)
        said = f"not an image graft reads but {kind}" if kind else "not an image but text"
        return f"this is {said}; graft reads {READABLE}"
    for magic, name in _OURS:
        if data.startswith(magic):
            return f"the image is damaged: it begins as {name} does, but what must follow is not there"
    return f"this is not an image, or one of an unknown format; graft reads {READABLE}"


def suffix_of(data: bytes) -> str:
    """What a file of these bytes is called after the dot: ``jpeg``, ``png``, ..., or ``bin``."""
    return next((name.lower() for magic, name in _OURS if data.startswith(magic)), "bin")


def end_is_missing(kind: str, data: bytes) -> bool:
    """Whether a file whose pixels could be decoded was cut off after them (``kind`` is Pillow's name of the format)."""
    mark = _END_MARKS.get(kind)
    return mark is not None and data.rfind(mark) < 0


def what_is_damaged(data: bytes, reason: str) -> str:
    """A sentence about an image on which a decoder gave up for ``reason``."""
    # A WebP file says how long it is; its decoder does not say that this is what it misses.
    short_webp = data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") + 8 > len(data)
    if short_webp or "truncated" in reason.lower():
        return f"the image is damaged: its end is missing ({len(data):,} bytes are there)"
    return f"the image is damaged: {reason}"


def has_more_scans(data: bytes, most: int) -> bool:
    """Whether a JPEG goes over its pixels more than ``most`` times before it ends."""
    place, scans = 2, 0
    while scans <= most and (marker := _JPEG_MARKER.search(data, place)):
        kind = data[marker.start() + 1]
        if kind == _END_OF_IMAGE:
            return False
        scans += kind == _START_OF_SCAN
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return scans > most
