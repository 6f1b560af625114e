"""Hashes of graft's code and versions of the image decoders, which are part of every cache key."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from graft.core.files import sha256

_PACKAGE = Path(__file__).parents[1]


def code_of(patterns: Iterable[str], package: Path = _PACKAGE) -> list[str]:
    """Path and SHA-256 of every source file that matches one of ``patterns``, such as ``zoo/*.py``.

    Args:
        patterns: relative to ``package``, sorted within each.
        package: graft's own code.

    Raises:
        ValueError: a pattern fits no file. A module was renamed, and its changes would go unnoticed.
    """
    lines = []
    for pattern in patterns:
        files = sorted(package.glob(pattern))
        if not files:
            raise ValueError(f"no code fits {pattern!r}, by which results are kept")
        lines += [f"{file.relative_to(package).as_posix()} {sha256(file)}" for file in files]
    return lines


def decoders() -> list[str]:
    """Versions of Pillow and of the libraries it decodes with."""
    import PIL
    import pillow_heif
    from PIL import features

    names = ("jpg", "libjpeg_turbo", "webp", "zlib", "libtiff")
    heif = f"pillow-heif {pillow_heif.__version__}, libheif {pillow_heif.libheif_version()}"
    return [f"pillow {PIL.__version__}", heif, *(f"{name} {features.version(name)}" for name in names)]
