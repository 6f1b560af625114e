"""The manifest: a row per image with its facts; every file is read and decoded once, large sets in processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

from graft.determinism import available_cores
from graft.errors import DataError
from graft.images.facts import NAMES, Facts, examine
from graft.progress import track

if TYPE_CHECKING:
    import pandas as pd

# Measured on 2 cores: what a file and a byte of JPEG take, and how much work makes up for starting processes.
_SECONDS_PER_FILE = 0.002
_SECONDS_PER_BYTE = 5e-8
_WORTH_PROCESSES = 4.0
_CHUNK = 16
# Whole numbers that are missing where an image could not be decoded, and so need a type that can be missing.
_TYPES = {
    **dict.fromkeys(("width", "height", "frames", "bytes"), "Int64"),
    **dict.fromkeys(("brightness", "contrast", "sharpness"), "float64"),
}


def build_manifest(table: pd.DataFrame, files: Sequence[Path], workers: int | None = None) -> pd.DataFrame:
    """Examine every image of ``table``.

    Args:
        table: a row per image; its columns are kept (path, label, split, group, source).
        files: where each row's image lies, in the same order.
        workers: processes; None takes the cores there are (at most 8) for large sets, and this process for small.

    Returns:
        ``table`` with the columns of :class:`graft.images.facts.Facts`. A file that cannot be decoded is a row whose
        ``problems`` says why.

    Raises:
        DataError: a process that was reading images was killed, most often for want of memory.
    """
    import pandas as pd

    rows = [astuple(facts) for facts in track(_examine_all(files, workers), "reading images", total=len(files))]
    facts = pd.DataFrame(rows, columns=list(NAMES), index=table.index)
    typed = facts.astype({name: _TYPES.get(name, "str") for name in NAMES})
    return pd.concat([table, typed], axis=1)


def _examine_all(files: Sequence[Path], workers: int | None) -> Iterator[Facts]:
    """Facts in the order of ``files``, whatever the number of processes."""
    count = workers or (1 if _are_few(files) else min(available_cores(), 8))
    if count == 1:
        yield from map(examine, files)
        return
    # Spawned, not forked: the parent may hold threads and locks, and spawning is the same on every system.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(count, mp_context=context) as pool:
            yield from pool.map(examine, files, chunksize=_CHUNK)
    except BrokenProcessPool:
        raise DataError(
            "a process that was reading images was killed, most often for want of memory",
            remedy="close other programs and run again; nothing half-written was left",
        ) from None


def _are_few(files: Sequence[Path]) -> bool:
    """Would starting processes take longer than it saves?"""
    seconds = 0.0
    for file in files:
        try:
            seconds += _SECONDS_PER_FILE + _SECONDS_PER_BYTE * file.stat().st_size
        except OSError:
            continue
        if seconds > _WORTH_PROCESSES:
            return False
    return True


def usable(manifest: pd.DataFrame) -> pd.DataFrame:
    """The rows whose image can be decoded and that validation has not put into quarantine."""
    fit = manifest["problems"].isna()
    return manifest[fit & manifest["quarantine"].isna()] if "quarantine" in manifest else manifest[fit]
