"""Decoded samples: each file is decoded once and kept as an array, for all candidates with equal loaders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graft.core.determinism import available_cores
from graft.core.packed_files import ImageFolder, StoredFile
from graft.core.progress import track
from graft.features.cache import ArrayCache, EntryWriter
from graft.features.keys import decoding_version, key_of, row_keys
from graft.modalities.preprocessor import Loader

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

    def key(self, loader: Loader) -> tuple[str, ...]:
        """What identifies each sample as this loader reads it; a file's name and place do not matter, its bytes do."""
        table = _table(loader)
        return tuple(f"{table}/{digest}" for digest in self.digests)


def decoded(images: ImageSet, loader: Loader, store: ArrayCache) -> NDArray[Any]:
    """All samples as ``loader`` reads them, (n, ...), mapped into memory.

    Raises:
        DataError: an image cannot be decoded; the message names it.
    """
    return decoded_at(images, [loader], store)[loader]


def decoded_at(images: ImageSet, loaders: Iterable[Loader], store: ArrayCache) -> dict[Loader, NDArray[Any]]:
    """What :func:`decoded` gives for each loader; each file is opened once for all that lack it.

    Raises:
        DataError: an image cannot be decoded; the message names it.
    """
    wanted = list(dict.fromkeys(loaders))
    if not images.paths:
        return {loader: loader.random_rows(0) for loader in wanted}
    keys = row_keys(images.digests)
    found = {loader: store.find(KIND, _table(loader), keys) for loader in wanted}
    lacking = [loader for loader, rows in found.items() if rows is None]
    drafts: dict[Loader, EntryWriter] = {}
    with ExitStack() as stack:
        for loader in lacking:
            drafts[loader] = stack.enter_context(store.draft(KIND, _table(loader), keys))
        _decode(images, drafts)
    for loader, draft in drafts.items():
        found[loader] = draft.result
    return {loader: rows for loader, rows in found.items() if rows is not None}


def _decode(images: ImageSet, drafts: dict[Loader, EntryWriter]) -> None:
    """Fill what the drafts miss."""
    lacking: dict[int, list[Loader]] = {}
    for loader, draft in drafts.items():
        for place in draft.missing.tolist():
            lacking.setdefault(place, []).append(loader)

    def one(place: int) -> None:
        path, wanted = images.root / images.paths[place], lacking[place]
        # Asking for several reads the header once more, so a single one is asked for by itself.
        loaded = wanted[0].load_each(path, wanted) if len(wanted) > 1 else {wanted[0]: wanted[0].load(path)}
        for loader, row in loaded.items():
            drafts[loader].put(place, row[None])

    if lacking:
        # Threads do: Pillow lets go of the interpreter's lock while it decodes and resizes.
        with ThreadPoolExecutor(available_cores()) as pool:
            for _ in track(pool.map(one, sorted(lacking)), "decoding", total=len(lacking)):
                pass


def _table(loader: Loader) -> str:
    return key_of(KIND, str(loader), decoding_version())
