"""ICC profiles made by hand, so that tests know what is in them: matrix RGB, grey with a gamma, CMYK by a table."""

from __future__ import annotations

import struct
from collections.abc import Mapping

# XYZ (adapted to D50) of the three primaries, red first, and the exponent of Adobe RGB (1998).
ADOBE_PRIMARIES = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
ADOBE_GAMMA = 563 / 256
SRGB_PRIMARIES = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
D50 = (0.9642, 1.0, 0.8249)


def adobe_rgb() -> bytes:
    """A profile whose colours reach further than sRGB's."""
    tags = {name: _xyz(*xyz) for name, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), ADOBE_PRIMARIES, strict=True)}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _gamma(ADOBE_GAMMA))
    return _profile(b"mntr", b"RGB ", b"XYZ ", {**tags, **curves, b"wtpt": _xyz(*D50)})


def grey(gamma: float) -> bytes:
    """A profile for grey levels that are luminance to the power of ``1 / gamma``."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _gamma(gamma), b"wtpt": _xyz(*D50)})


def cmyk(cyan_lab: tuple[float, float, float]) -> bytes:
    """A profile of a press whose full cyan is ``cyan_lab``, and whose other full inks are black (Lab 0, 0, 0)."""
    white, cyan, black = _lab8(100, 0, 0), _lab8(*cyan_lab), _lab8(0, 0, 0)
    # The table's corners; the last ink changes fastest: 0000 is paper, 1000 is cyan alone.
    corners = [white, *[black] * 7, cyan, *[black] * 7]
    line = bytes(range(256))
    identity = struct.pack(">9i", *(65536 if place % 4 == 0 else 0 for place in range(9)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + line * 4 + b"".join(corners) + line * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table, b"wtpt": _xyz(*D50)})


def _profile(kind: bytes, space: bytes, connection: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    table, body, offset = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", offset + len(body), bytes(4), 0x02100000, kind, space, connection)
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(*D50) + bytes(48)
    assert len(head) == 128
    return head + table + body


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*values)


def _gamma(value: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(value * 256))


def _lab8(lightness: float, a: float, b: float) -> bytes:
    return bytes([round(lightness * 2.55), round(a) + 128, round(b) + 128])
