"""Decoded images: each file is decoded once and kept as uint8, for all candidates with equal geometry."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graft.determinism import available_cores
from graft.features.store import Store, key_of
from graft.progress import track
from graft.zoo.preprocessing import Geometry

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ImageSet:
    """An ordered list of image files and the hashes of their bytes."""

    root: Path
    paths: tuple[str, ...]
    digests: tuple[str, ...]

    def key(self, geometry: Geometry) -> str:
        """The key of these images at this geometry; a file's name and place do not matter, its bytes do."""
        return key_of("images", self.digests, asdict(geometry))


def decoded(images: ImageSet, geometry: Geometry, store: Store) -> NDArray[np.uint8]:
    """All images at ``geometry``, uint8 (n, size, size, 3).

    Raises:
        DataError: an image cannot be decoded; the message names it.
    """

    def compute() -> dict[str, NDArray[np.generic]]:
        return {"images": _decode_all(images, geometry)}

    kept = store.get("images", images.key(geometry), compute)["images"]
    return kept.astype(np.uint8, copy=False)


def _decode_all(images: ImageSet, geometry: Geometry) -> NDArray[np.generic]:
    out = np.empty((len(images.paths), geometry.size, geometry.size, 3), dtype=np.uint8)

    def one(path: str) -> NDArray[np.uint8]:
        return geometry.load(images.root / path)

    # Threads do: Pillow lets go of the interpreter's lock while it decodes and resizes.
    with ThreadPoolExecutor(available_cores()) as pool:
        rows: Iterable[NDArray[np.uint8]] = pool.map(one, images.paths)
        for index, row in enumerate(track(rows, f"decoding at {geometry.size} px", total=len(images.paths))):
            out[index] = row
    return out
