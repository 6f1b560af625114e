"""Facts that are kept from run to run, so that an image that has not changed is neither read nor decoded again.

A row is found in two ways, the cheap one first:

1. by the file's identity (:mod:`graft.core.file_identity`): the file is not opened at all;
2. by the SHA-256 of its bytes: the file is read, but not decoded. This serves files that are the same and yet new to
   the file system: ``ingest`` takes all of data/raw in anew, and DVC may check it out. Keeping their times would not
   do: unpacked archives give thousands of files of one size the same time.

Both say only what the bytes say, so a manifest is the same to the byte whether its facts were kept or found anew. Only
facts of images that could be decoded are kept: what went wrong may go right the next time.

The file is one SHA-256 and one parquet file. It is written whole, and read only when the hash is right and it was
written by the same code and libraries; else everything is found anew. Two processes may use it at once: the last
to finish writes what is kept, and what the other one would have added is found again.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graft.core.code_version import code_of, decoders
from graft.core.file_identity import IDENTITY_BYTES
from graft.core.files import atomic_file
from graft.modalities.image.stats import NAMES

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

IDENTITY = "identity"
FILE = "facts.cache"
_HASH_BYTES = 32
_VERSION_KEY = b"graft.facts"
# What was known of other folders is kept too, the latest first, up to this many rows or as many as there are now.
_SPARE = 200_000
_NUMBERS = ("width", "height", "frames", "bytes")
# What facts.py imports of this package, but for how a file's bytes are read. (A test compares.)
CODE = (
    "data/stats_cache.py",
    *(f"modalities/image/{name}.py" for name in ("colour", "decode", "signatures", "stats")),
)
_MEASURES = ("depth_low", "depth_high", "brightness", "contrast", "sharpness", "entropy")


@cache
def facts_schema() -> pa.Schema:
    """The identity and then the facts, each with its type; everything can be missing."""
    import pyarrow as pa

    types = {**dict.fromkeys(_NUMBERS, pa.int64()), **dict.fromkeys(_MEASURES, pa.float64())}
    fields = [pa.field(name, types.get(name, pa.string())) for name in NAMES]
    return pa.schema([pa.field(IDENTITY, pa.binary(IDENTITY_BYTES)), *fields])


@cache
def facts_version() -> str:
    """Changes with whatever could change a fact: the code they follow from, and the libraries under it."""
    made_with = [*code_of(CODE), f"numpy {np.__version__}", *decoders()]
    return hashlib.sha256("\n".join(made_with).encode()).hexdigest()


@dataclass(frozen=True)
class Known:
    """The rows of a cache, and where to find them."""

    rows: pa.Table

    def by_identity(self, identities: pa.Array) -> NDArray[np.int64]:
        """The row of each identity, or -1."""
        return self._places(IDENTITY, identities)

    def by_content(self, hashes: pa.Array) -> NDArray[np.int64]:
        """A row of each SHA-256 of a file, or -1."""
        return self._places("sha256", hashes)

    def _places(self, column: str, wanted: pa.Array) -> NDArray[np.int64]:
        import pyarrow.compute as pc

        # Without skip_nulls a missing value would be found where another is missing.
        found = pc.index_in(wanted, value_set=self.rows[column], skip_nulls=True)
        return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), dtype=np.int64)


@dataclass(frozen=True)
class FactsCache:
    """The kept facts of one folder (a workspace's ``.graft/cache``, or the user's). It may be deleted at any time."""

    folder: Path

    @property
    def path(self) -> Path:
        """The one file."""
        return self.folder / FILE

    def load(self) -> Known:
        """What is kept and can be trusted; nothing where there is no such file, or another version wrote it."""
        import pyarrow as pa

        try:
            return Known(_parse(self.path.read_bytes()))
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError) as error:  # pyarrow's own errors are ValueErrors and KeyErrors
            _say(f"the facts kept in {self.path} cannot be used ({error}); every image is examined again")
        return Known(pa.Table.from_batches([], facts_schema()))

    def save(self, rows: pa.Table, known: Known) -> None:
        """Keep ``rows`` first, then what was known besides. A disk that is full or read-only is said, and no error."""
        import pyarrow as pa
        import pyarrow.compute as pc

        good = rows.filter(pc.and_(pc.is_null(rows["problems"]), pc.is_valid(rows["sha256"])))
        old = known.rows
        again = pc.if_else(
            pc.is_valid(old[IDENTITY]),
            pc.is_in(old[IDENTITY], value_set=good[IDENTITY]),
            pc.is_in(old["sha256"], value_set=good["sha256"]),
        )
        others = old.filter(pc.invert(again))
        kept = pa.concat_tables([good, others.slice(0, max(_SPARE, len(good)))])
        try:
            with atomic_file(self.path) as beside:
                _write(kept, beside)
        except OSError as error:
            _say(f"the facts cannot be kept in {self.folder} ({error.strerror}); the next run finds them again")


def _write(rows: pa.Table, path: Path) -> None:
    """Write the parquet file behind a gap, and then its hash into the gap: a copy in memory could be large."""
    import pyarrow.parquet as pq

    marked = rows.replace_schema_metadata({_VERSION_KEY: facts_version().encode()})
    with path.open("w+b") as file:
        file.write(bytes(_HASH_BYTES))
        pq.write_table(marked, file, compression="zstd")
        file.seek(_HASH_BYTES)
        digest = hashlib.file_digest(file, "sha256").digest()
        file.seek(0)
        file.write(digest)


def _parse(data: bytes) -> pa.Table:
    """The rows; none where another version wrote them. Raises ValueError where a bit is not as it was written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    payload = memoryview(data)[_HASH_BYTES:]
    if hashlib.sha256(payload).digest() != data[:_HASH_BYTES]:
        raise ValueError("it is damaged")
    rows = pq.read_table(pa.BufferReader(pa.py_buffer(payload)))
    if (rows.schema.metadata or {}).get(_VERSION_KEY) != facts_version().encode():
        return pa.Table.from_batches([], facts_schema())
    return rows.replace_schema_metadata(None).cast(facts_schema())


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
