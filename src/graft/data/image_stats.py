"""Examining many files: in this process where they are few, else in several, with the facts in columns at once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.determinism import available_cores
from graft.core.errors import DataError
from graft.core.file_identity import read_steadily
from graft.core.packed_files import StoredFile, size_of
from graft.core.progress import track
from graft.data.stats_cache import facts_schema
from graft.modalities.image.stats import NAMES, Facts, facts_of

if TYPE_CHECKING:
    import pyarrow as pa

Row = tuple[object, ...]

# Measured on 2 cores: what a file and a byte of JPEG take, and how much work makes up for starting processes.
_SECONDS_PER_FILE = 0.0004
_SECONDS_PER_BYTE = 3e-8
_WORTH_PROCESSES = 1.5
# Files handed to a process at a time: many, so that handing over is cheap, yet enough turns for all to end together.
_MOST_AT_ONCE = 128
_TURNS = 32
# Rows that are gathered as Python objects before they become columns, which take a tenth of the memory.
_ROWS_AT_ONCE = 4096

_values = attrgetter(*NAMES)


def examine_all(files: Sequence[StoredFile], workers: int | None) -> pa.Table:
    """Identity and facts (:func:`graft.data.stats_cache.facts_schema`) in the order of ``files``.

    Raises:
        DataError: a process that was reading images was killed.
    """
    import pyarrow as pa

    schema = facts_schema()
    batches, rows = [], []
    for row in track(_rows(files, workers), "reading images", total=len(files)):
        rows.append(row)
        if len(rows) == _ROWS_AT_ONCE:
            batches.append(_columns(rows))
            rows = []
    return pa.Table.from_batches([*batches, _columns(rows)], schema)


def _columns(rows: Sequence[Row]) -> pa.RecordBatch:
    import pyarrow as pa

    schema = facts_schema()
    columns = zip(*rows, strict=True) if rows else ((),) * len(schema)
    return pa.record_batch(
        [pa.array(list(column), field.type) for column, field in zip(columns, schema, strict=True)], schema
    )


def examine_one(path: StoredFile) -> Row:
    """Identity and facts of one file; never raises for a bad file."""
    try:
        reading = read_steadily(path)
    except DataError as error:
        return (None, *_values(Facts(problems=error.what)))
    facts = facts_of(reading)
    return (reading.identity, *_values(facts))


def _examine_some(files: Sequence[StoredFile | str]) -> list[Row]:
    return [examine_one(Path(file) if isinstance(file, str) else file) for file in files]


def _rows(files: Sequence[StoredFile], workers: int | None) -> Iterator[Row]:
    """In the order of ``files``, whatever the number of processes."""
    count = workers or (1 if _are_few(files) else min(available_cores(), 8))
    if count == 1:
        yield from map(examine_one, files)
        return
    size = max(1, min(_MOST_AT_ONCE, len(files) // (count * _TURNS)))
    # As text: a path takes ten times longer to hand over.
    named = [str(file) if isinstance(file, Path) else file for file in files]
    parts = (named[first : first + size] for first in range(0, len(named), size))
    # Spawned, not forked: the parent may hold threads and locks, and spawning is the same on every system.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(count, mp_context=context, initializer=_one_thread) as pool:
            for rows in pool.map(_examine_some, parts):
                yield from rows
    except BrokenProcessPool:
        raise DataError(
            "a process that was reading images was killed, most often for want of memory",
            remedy="close other programs and run again; nothing half-written was left",
        ) from None


def _one_thread() -> None:
    """One thread a process: the processes are as many as the cores, and would only get in each other's way."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)


def _are_few(files: Sequence[StoredFile]) -> bool:
    """Would starting processes take longer than it saves?"""
    seconds = 0.0
    for file in files:
        try:
            seconds += _SECONDS_PER_FILE + _SECONDS_PER_BYTE * size_of(file)
        except OSError:
            continue
        if seconds > _WORTH_PROCESSES:
            return False
    return True
