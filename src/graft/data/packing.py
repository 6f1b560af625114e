"""Pack samples into a few tar files by a hash of their paths, so that a change touches one tar file.

Plain uncompressed tar files that any `tar` unpacks into class folders, and an index (``index.parquet``: path, shard,
offset, bytes) by which :mod:`graft.core.packed_files` reads an image where it lies. The same images give the same
bytes: no times, owners or permissions are written, and an image's tar file follows from its path and their number
alone. So an image that is changed, added or taken out changes one tar file and the index.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.packed_files import COLUMNS, INDEX_FILE, SUFFIX, StoredFile, open_file
from graft.core.progress import track
from graft.data.ingest import by_raw_path, ingest_error, ingested_table
from graft.data.sources.listing import Sample

if TYPE_CHECKING:
    import pandas as pd


def pack_images(samples: Sequence[Sample], folder: Path, shards: int) -> pd.DataFrame:
    """Pack every sample under its path in data/raw, and return the table of :func:`copy_images`.

    ``folder`` exists and is empty; it gets at most ``shards`` tar files, and their index.

    Raises:
        DataError: a file cannot be read, is changed meanwhile, or cannot be written.
    """
    placed = by_raw_path(samples)
    pack_files({path: sample.file for path, sample in placed.items()}, folder, shards)
    return ingested_table(placed)


def pack_files(files: Mapping[str, StoredFile], folder: Path, shards: int) -> None:
    """Pack files by the paths that they get, streaming one at a time; the rest as :func:`pack_images`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[tuple[str, str, int, int]] = []
    shard = partial(shard_of, shards=shards)
    ordered = sorted(files, key=lambda path: (shard(path), path))
    for name, paths in groupby(track(ordered, "packing images"), key=shard):
        with tarfile.open(folder / name, "x", format=tarfile.PAX_FORMAT) as tar:
            rows += [(path, name, *_add(tar, path, files[path])) for path in paths]
    types = (pa.string(), pa.string(), pa.int64(), pa.int64())
    columns = zip(*sorted(rows), strict=True) if rows else ((),) * len(COLUMNS)
    arrays = [pa.array(list(column), kind) for column, kind in zip(columns, types, strict=True)]
    pq.write_table(pa.table(arrays, names=list(COLUMNS)), folder / INDEX_FILE)


def shard_of(path: str, shards: int) -> str:
    """The tar file of a path, such as ``07.tar``: a hash of the path modulo ``shards``."""
    digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).digest()
    number = int.from_bytes(digest[:8], "big") % shards
    return f"{number:0{max(2, len(str(shards - 1)))}d}{SUFFIX}"


def _add(tar: tarfile.TarFile, path: str, file: StoredFile) -> tuple[int, int]:
    """Append one file; return offset and size of its content in bytes."""
    try:
        with open_file(file) as source:
            entry = tarfile.TarInfo(path)  # of no time, no owner, mode 644
            entry.size = source.seek(0, os.SEEK_END)
            source.seek(0)
            tar.addfile(entry, source)
            if source.read(1):
                raise OSError("it grew while it was read")
    except OSError as error:
        raise ingest_error(file, error) from None
    blocks = -(-entry.size // tarfile.BLOCKSIZE)
    return tar.offset - blocks * tarfile.BLOCKSIZE, entry.size
