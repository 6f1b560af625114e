"""Decoded images: each file is decoded once and kept as uint8, for all candidates with equal geometry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from graft.core.determinism import available_cores
from graft.core.packed_files import ImageFolder, StoredFile
from graft.core.progress import track
from graft.features.cache import ArrayCache, EntryWriter
from graft.features.keys import decoding_version, key_of, row_keys
from graft.models.preprocessing import Geometry, load_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

KIND = "images"


@dataclass(frozen=True)
class ListedFiles:
    """Images that lie anywhere, by the paths that they are known by; ``self / path`` is one of them."""

    files: Mapping[str, StoredFile]

    def __truediv__(self, path: str) -> StoredFile:
        """The image of this path."""
        return self.files[path]


@dataclass(frozen=True)
class ImageSet:
    """An ordered list of image files and the hashes of their bytes."""

    root: ImageFolder | ListedFiles
    paths: tuple[str, ...]
    digests: tuple[str, ...]

    def key(self, geometry: Geometry) -> tuple[str, ...]:
        """What identifies each image at this geometry; a file's name and place do not matter, its bytes do."""
        table = _table(geometry)
        return tuple(f"{table}/{digest}" for digest in self.digests)


def decoded(images: ImageSet, geometry: Geometry, store: ArrayCache) -> NDArray[np.uint8]:
    """All images at ``geometry``, uint8 (n, size, size, 3), mapped into memory.

    Raises:
        DataError: an image cannot be decoded; the message names it.
    """
    return decoded_at(images, [geometry], store)[geometry]


def decoded_at(
    images: ImageSet, geometries: Iterable[Geometry], store: ArrayCache
) -> dict[Geometry, NDArray[np.uint8]]:
    """What :func:`decoded` gives for each geometry; each file is opened once for all that lack it.

    Raises:
        DataError: an image cannot be decoded; the message names it.
    """
    wanted = list(dict.fromkeys(geometries))
    if not images.paths:
        return {geometry: np.empty((0, geometry.size, geometry.size, 3), np.uint8) for geometry in wanted}
    keys = row_keys(images.digests)
    found = {geometry: store.find(KIND, _table(geometry), keys) for geometry in wanted}
    lacking = [geometry for geometry, rows in found.items() if rows is None]
    drafts: dict[Geometry, EntryWriter] = {}
    with ExitStack() as stack:
        for geometry in lacking:
            drafts[geometry] = stack.enter_context(store.draft(KIND, _table(geometry), keys))
        _decode(images, drafts)
    for geometry, draft in drafts.items():
        found[geometry] = draft.result
    return {geometry: rows for geometry, rows in found.items() if rows is not None}


def _decode(images: ImageSet, drafts: dict[Geometry, EntryWriter]) -> None:
    """Fill what the drafts miss."""
    lacking: dict[int, list[Geometry]] = {}
    for geometry, draft in drafts.items():
        for place in draft.missing.tolist():
            lacking.setdefault(place, []).append(geometry)

    def one(place: int) -> None:
        path, wanted = images.root / images.paths[place], lacking[place]
        # Asking for several reads the header once more, so a single one is asked for by itself.
        loaded = load_for(path, wanted) if len(wanted) > 1 else {wanted[0]: wanted[0].load(path)}
        for geometry, pixels in loaded.items():
            drafts[geometry].put(place, pixels[None])

    if lacking:
        sizes = ", ".join(str(size) for size in sorted({geometry.size for geometry in drafts}))
        # Threads do: Pillow lets go of the interpreter's lock while it decodes and resizes.
        with ThreadPoolExecutor(available_cores()) as pool:
            for _ in track(pool.map(one, sorted(lacking)), f"decoding at {sizes} px", total=len(lacking)):
                pass


def _table(geometry: Geometry) -> str:
    return key_of(KIND, asdict(geometry), decoding_version())
