"""Content-addressed cache of rows (decoded images, features): each is computed once, whatever set its image is in.

A *table* identifies how rows are made: a geometry, or a network with its weights and preprocessing. Each ordered set of
images is one file of its table (:mod:`graft.features.row_file`), memory-mapped as one array. For another set, rows are
copied from the table's other files, and only missing ones are computed: a copy is hundreds of times cheaper.

Files are written whole or not at all, never changed, and a mapping outlives its file: any number of processes may use
one folder at once. All files may be deleted at any time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.features.eviction import evict_lru
from graft.features.keys import key_of
from graft.features.row_file import SUFFIX, DamagedFileError, RowFile, RowWriter, writing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[Any]
    Keys = NDArray[np.uint8]
    Put = Callable[[int, Rows], None]

DEFAULT_LIMIT_GB = 20.0
# Raise it when the meaning of what is kept changes in a way that no key sees; older files are then never read again.
VERSION = 3


@dataclass(frozen=True)
class ArrayCache:
    """A cache folder and its size limit.

    Attributes:
        folder: the workspace's cache; other files in it count, but are not touched.
        limit_gb: over this many GB (1e9 bytes) what was used longest ago is removed. Arrays in use are never removed,
            so that a run may exceed the limit.
    """

    folder: Path
    limit_gb: float = DEFAULT_LIMIT_GB
    # What was given out: mapped and checked once, and not to be removed.
    _open: dict[Path, RowFile] = field(default_factory=dict, repr=False, compare=False)

    def __reduce__(self) -> tuple[type[ArrayCache], tuple[Path, float]]:
        """Another process, or a copy, maps the files itself."""
        return ArrayCache, (self.folder, self.limit_gb)

    def rows(self, kind: str, table: str, keys: Keys, compute: Callable[[NDArray[np.intp], Put], None]) -> Rows:
        """The rows of a set, (n, ...), mapped into memory: kept ones, and what ``compute`` makes of the others.

        Args:
            kind: what is kept, such as ``features``.
            table: what a row is made with; equal tables make equal rows of equal keys.
            keys: what each row is made from, uint8 (n, 32), n at least 1.
            compute: called with the places (0 to n-1) that are kept nowhere, each key once, and a function that
                takes a place and its row (1, ...), in any order, from any thread.
        """
        kept = self.find(kind, table, keys)
        if kept is None:
            with self.draft(kind, table, keys) as draft:
                if len(draft.missing):
                    compute(draft.missing, draft.put)
            kept = draft.result
        return kept

    def find(self, kind: str, table: str, keys: Keys) -> Rows | None:
        """The rows of a set where all of them are kept in one file and undamaged."""
        path = self._path(kind, table, keys)
        if path not in self._open:
            try:
                file = RowFile.open(path)
            except FileNotFoundError:
                return None
            except (OSError, DamagedFileError) as error:
                self._drop(path, str(error))
                return None
            # Damaged rows are left to `draft`, which takes the sound ones from this file and says so.
            if not np.array_equal(file.keys, keys) or not file.sound(np.arange(len(keys))).all():
                return None
            self._open[path] = file
        _touch(path)
        return self._open[path].rows

    @contextmanager
    def draft(self, kind: str, table: str, keys: Keys) -> Iterator[EntryWriter]:
        """A file for a set, filled with what other files of the table hold; it is kept when the block ends well."""
        path = self._path(kind, table, keys)
        with writing(path, keys) as writer:
            draft = EntryWriter.begin(writer, keys)
            for other in _latest_first(path.parent):
                if not draft.wanted:
                    break
                self._take(draft, other)
            draft.missing = np.array(sorted(places[0] for places in draft.wanted.values()), dtype=np.intp)
            yield draft
            # Mapped before it is in place: from then on another process may remove it.
            file = writer.finish()
        self._open[path] = file
        draft.result = file.rows
        evict_lru(self.folder, self.limit_gb, in_use=self._open)

    def _take(self, draft: EntryWriter, path: Path) -> None:
        """Copy what the draft wants of a file, unless it is damaged."""
        try:
            file = self._open.get(path) or RowFile.open(path)
        except FileNotFoundError:  # removed by another process
            return
        except (OSError, DamagedFileError) as error:
            self._drop(path, str(error))
            return
        places = np.array([i for i, key in enumerate(map(bytes, file.keys)) if key in draft.wanted], dtype=np.intp)
        good = file.sound(places)
        for place in places[good]:
            draft.copy(bytes(file.keys[place]), file.rows[place : place + 1])
        if not good.all():
            self._drop(path, f"{(~good).sum()} of {len(file.keys)} rows are damaged")

    def _path(self, kind: str, table: str, keys: Keys) -> Path:
        name = key_of(VERSION, keys.tobytes().hex())[:32]
        return self.folder / "rows" / kind / key_of(VERSION, table)[:32] / f"{name}{SUFFIX}"

    def _drop(self, path: Path, reason: str) -> None:
        print(
            f"the kept file {path} is damaged ({reason}): what it held is computed again", file=sys.stderr, flush=True
        )
        self._open.pop(path, None)
        path.unlink(missing_ok=True)


@dataclass
class EntryWriter:
    """A set of rows that is being put together.

    Attributes:
        wanted: the places of each key that is in no file looked at so far.
        missing: a place of each key that is in none, to be put.
        result: the rows, once the draft is finished.
    """

    writer: RowWriter
    places: dict[int, list[int]]
    wanted: dict[bytes, list[int]]
    missing: NDArray[np.intp]
    result: Rows

    @classmethod
    def begin(cls, writer: RowWriter, keys: Keys) -> EntryWriter:
        """A draft that has nothing yet."""
        wanted: dict[bytes, list[int]] = {}
        for place, key in enumerate(map(bytes, keys)):
            wanted.setdefault(key, []).append(place)
        nothing = np.empty(0, dtype=np.intp)
        return cls(writer, {places[0]: places for places in wanted.values()}, wanted, nothing, nothing)

    def copy(self, key: bytes, row: Rows) -> None:
        """Write a kept row, (1, ...), wherever its key is; a second row of the same key is passed over."""
        places = self.wanted.pop(key, None)
        if places is not None:
            self.put(places[0], row)

    def put(self, place: int, row: Rows) -> None:
        """Write a row, (1, ...), wherever the key of ``place`` is."""
        for same in self.places[place]:
            self.writer.put(same, row)


def _latest_first(folder: Path) -> list[Path]:
    times = []
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(OSError):  # removed by another process
            times.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(times, reverse=True)]


def _touch(path: Path) -> None:
    """Mark a file as used now; that it cannot be marked, or is gone, is no harm."""
    with suppress(OSError):
        os.utime(path)
