"""The manifest: a row per image with its facts; files that have not changed since the last run are not read again."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from graft.core.determinism import available_cores
from graft.core.errors import DataError
from graft.core.file_identity import IDENTITY_BYTES, identify, read_steadily
from graft.core.packed_files import StoredFile
from graft.core.progress import track
from graft.data.image_stats import examine_all
from graft.data.stats_cache import IDENTITY, FactsCache, Known

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

# Files that a thread reads before it hands over what it found.
_PART = 256


def build_manifest(
    table: pd.DataFrame, files: Sequence[StoredFile], workers: int | None = None, cache: FactsCache | None = None
) -> pd.DataFrame:
    """Examine every image of ``table``.

    Args:
        table: a row per image; its columns are kept (path, label, split, group, source).
        files: where each row's image lies, in the same order.
        workers: processes; None takes the cores there are (at most 8) for large sets, and this process for small.
        cache: facts of earlier runs, which are looked up first and added to; None examines every file.

    Returns:
        ``table`` with the columns of :class:`graft.modalities.image.stats.Facts`: the same, to the byte, whatever the
        number of processes and whatever was kept. A file that cannot be decoded is a row whose ``problems`` says why.

    Raises:
        DataError: a process that was reading images was killed, most often for want of memory.
    """
    import pandas as pd

    rows = examine_all(files, workers) if cache is None else _incremental(files, workers, cache)
    facts = as_frame(rows.drop_columns([IDENTITY]))
    return pd.concat([table, facts.set_axis(table.index)], axis=1)


def as_frame(facts: pa.Table) -> pd.DataFrame:
    """Facts as pandas has them: text as ``str`` on Arrow's memory, whole numbers that can be missing as ``Int64``."""
    import pandas as pd
    import pyarrow as pa

    types = {pa.int64(): pd.Int64Dtype(), pa.string(): pd.StringDtype("pyarrow", na_value=np.nan)}
    # In one piece: where a column is cut could show in the bytes of a parquet file.
    frame: pd.DataFrame = facts.combine_chunks().to_pandas(types_mapper=types.get)
    return frame


def _incremental(files: Sequence[StoredFile], workers: int | None, cache: FactsCache) -> pa.Table:
    """Identity and facts of every file: looked up by its identity, else by its content, else found anew."""
    import pyarrow as pa

    known = cache.load()
    identities, places = _by_identity(files, known)
    unseen = np.flatnonzero(places < 0)
    _by_content(files, known, unseen, identities, places)
    learnt = any(identities[row] is not None for row in unseen)
    new = np.flatnonzero(places < 0)
    fresh = examine_all([files[row] for row in new.tolist()], workers)
    for row, identity in zip(new, fresh[IDENTITY].to_pylist(), strict=True):
        identities[row] = identity
    if len(new) == len(files):
        rows = fresh
    else:
        places[new] = len(known.rows) + np.arange(len(new))
        rows = pa.concat_tables([known.rows, fresh]).take(pa.array(places))
        rows = rows.set_column(0, rows.schema.field(0), pa.array(identities, rows.schema.field(0).type))
    if learnt or fresh["problems"].null_count:
        cache.save(rows, known)
    return rows


def _by_identity(files: Sequence[StoredFile], known: Known) -> tuple[list[bytes | None], Ints]:
    """Each file's identity, and its row in what is known or -1; no file is opened."""
    import pyarrow as pa

    if not len(known.rows):
        return [None] * len(files), np.full(len(files), -1, dtype=np.int64)
    identities = [identify(file) for file in files]
    return identities, known.by_identity(pa.array(identities, pa.binary(IDENTITY_BYTES)))


def _by_content(
    files: Sequence[StoredFile], known: Known, unseen: Ints, identities: list[bytes | None], places: Ints
) -> None:
    """Read the ``unseen`` files, and fill in the identities and places of those whose bytes are known."""
    import pyarrow as pa

    for row in unseen:
        identities[row] = None
    if not len(known.rows):
        return
    parts = [unseen[first : first + _PART] for first in range(0, len(unseen), _PART)]
    # Threads: reading and hashing leave Python to the others.
    with ThreadPoolExecutor(min(available_cores(), 8)) as pool:
        hashed = pool.map(lambda part: [_hash(files[row]) for row in part], parts)
        pairs = [pair for some in track(hashed, "looking for changes", total=len(parts)) for pair in some]
    found = known.by_content(pa.array([digest for digest, _ in pairs], pa.string()))
    for row, place, (_, identity) in zip(unseen, found, pairs, strict=True):
        if place >= 0:
            places[row], identities[row] = place, identity


def _hash(file: StoredFile) -> tuple[str | None, bytes | None]:
    """A file's SHA-256 and identity; None for both where it cannot be read."""
    try:
        reading = read_steadily(file)
    except DataError:
        return None, None
    return reading.sha256, reading.identity


def usable(manifest: pd.DataFrame) -> pd.DataFrame:
    """The rows whose image can be decoded and that validation has not put into quarantine."""
    fit = manifest["problems"].isna()
    return manifest[fit & manifest["quarantine"].isna()] if "quarantine" in manifest else manifest[fit]
