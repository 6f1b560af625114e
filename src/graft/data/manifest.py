"""The manifest: a row per file with the statistics, fingerprint and near key that its modality computes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from graft.core.determinism import available_cores
from graft.core.errors import DataError
from graft.core.packed_files import StoredFile, read_bytes, size_of
from graft.core.progress import track
from graft.data.stats_cache import StatsCache, schema_of
from graft.modalities.base import Modality, Statistic

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from graft.tasks.base import Task

# What a file and a byte of JPEG take on one core, and the seconds of work that starting processes is worth.
_SECONDS_PER_FILE = 0.0004
_SECONDS_PER_BYTE = 3e-8
_WORTH_PROCESSES = 1.5
_MOST_PROCESSES = 8
# Files that a process is sent at a time.
_CHUNK = 16
# Rows that are Python objects before they become columns, which take a tenth of the memory.
_ROWS_AT_ONCE = 4096


def build_manifest(
    table: pd.DataFrame,
    files: Sequence[StoredFile],
    modality: Modality,
    workers: int | None = None,
    cache: StatsCache | None = None,
) -> pd.DataFrame:
    """Decode every file of ``table`` and compute its statistics.

    Args:
        table: a row per file; its columns are kept (path, label, split, group, source).
        files: where each row's file is, in the same order.
        modality: decodes and describes.
        workers: processes; None takes the cores there are (at most 8) for large sets, and this process for small.
        cache: statistics of earlier runs, which are looked up first and added to; None decodes every file.

    Returns:
        ``table`` with bytes, sha256, the modality's columns and problems: the same, to the byte, whatever the number
        of processes and whatever was cached. A file that cannot be decoded is a row whose ``problems`` says why.

    Raises:
        DataError: a process that was decoding was killed, most often for want of memory.
    """
    import pandas as pd
    import pyarrow as pa

    rows = _describe_all(files, modality, workers) if cache is None else _cached(files, modality, workers, cache)
    types = {pa.int64(): pd.Int64Dtype(), pa.string(): pd.StringDtype("pyarrow", na_value=np.nan)}
    # In one piece: where a column is cut could show in the bytes of a parquet file.
    stats: pd.DataFrame = rows.combine_chunks().to_pandas(types_mapper=types.get)
    return pd.concat([table, stats.set_axis(table.index)], axis=1)


def usable(manifest: pd.DataFrame) -> pd.DataFrame:
    """The rows that can be decoded and that validation has not put into quarantine."""
    fit = manifest["problems"].isna()
    return manifest[fit & manifest["quarantine"].isna()] if "quarantine" in manifest else manifest[fit]


def with_keys(manifest: pd.DataFrame, modality: Modality) -> pd.DataFrame:
    """The manifest with the modality's key columns named ``fingerprint`` and ``near_key``."""
    return manifest.rename(columns={modality.fingerprint_column: "fingerprint", modality.near_key_column: "near_key"})


def with_strata(manifest: pd.DataFrame, task: Task) -> pd.DataFrame:
    """The manifest with the task's strata as its column ``label``: what is counted and split by, as classes are."""
    return manifest.assign(label=task.strata(manifest["label"]))


def describe_file(file: StoredFile, modality: Modality) -> dict[str, Statistic]:
    """The values of a file's row. Never raises for a bad file: what is wrong is in ``problems``."""
    values: dict[str, Statistic] = {}
    try:
        raw = read_bytes(file)
        values = {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
        sample = modality.decode(raw)
        key = modality.near_key(sample)
        return {
            **values,
            **modality.stats(sample),
            modality.fingerprint_column: modality.fingerprint(sample),
            modality.near_key_column: None if key is None else key.hex(),
        }
    except DataError as error:
        return {**values, "problems": error.what}


def _cached(files: Sequence[StoredFile], modality: Modality, workers: int | None, cache: StatsCache) -> pa.Table:
    """A row per file: looked up by the file's content, else computed."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = cache.load(modality)
    places = np.full(len(files), -1, dtype=np.int64)
    if len(known):
        # Threads: reading and hashing release the interpreter's lock.
        with ThreadPoolExecutor(min(available_cores(), _MOST_PROCESSES)) as pool:
            hashes = list(track(pool.map(_hash, files), "looking for changes", total=len(files)))
        # Without skip_nulls a file that cannot be read would be found.
        found = pc.index_in(pa.array(hashes, pa.string()), value_set=known["sha256"], skip_nulls=True)
        places = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    new = np.flatnonzero(places < 0)
    fresh = _describe_all([files[row] for row in new.tolist()], modality, workers)
    places[new] = len(known) + np.arange(len(new))
    rows = pa.concat_tables([known, fresh]).take(pa.array(places))
    if fresh["problems"].null_count:
        cache.save(rows, known, modality)
    return rows


def _hash(file: StoredFile) -> str | None:
    try:
        return hashlib.sha256(read_bytes(file)).hexdigest()
    except DataError:
        return None


def _describe_all(files: Sequence[StoredFile], modality: Modality, workers: int | None) -> pa.Table:
    """A row per file, in order."""
    import pyarrow as pa

    schema = schema_of(modality)
    batches, rows = [], []
    for row in track(_described(files, modality, workers), f"reading {modality.name} files", total=len(files)):
        rows.append(row)
        if len(rows) == _ROWS_AT_ONCE:
            batches.append(pa.RecordBatch.from_pylist(rows, schema))
            rows = []
    return pa.Table.from_batches([*batches, pa.RecordBatch.from_pylist(rows, schema)], schema)


def _described(files: Sequence[StoredFile], modality: Modality, workers: int | None) -> Iterator[dict[str, Statistic]]:
    count = workers or (1 if _is_quick(files) else min(available_cores(), _MOST_PROCESSES))
    if count == 1:
        yield from (describe_file(file, modality) for file in files)
        return
    from loky import ProcessPoolExecutor

    try:
        with ProcessPoolExecutor(count, env={"OMP_NUM_THREADS": "1"}) as pool:
            yield from pool.map(partial(describe_file, modality=modality), files, chunksize=_CHUNK)
    except BrokenProcessPool:
        raise DataError(
            "a process that was reading files was killed, most often for want of memory",
            remedy="close other programs and run again; nothing half-written was left",
        ) from None


def _is_quick(files: Sequence[StoredFile]) -> bool:
    """Whether starting processes would take longer than it saves."""
    seconds = 0.0
    for file in files:
        with suppress(OSError):
            seconds += _SECONDS_PER_FILE + _SECONDS_PER_BYTE * size_of(file)
        if seconds > _WORTH_PROCESSES:
            return False
    return True
