"""Statistics of samples kept from run to run, by the SHA-256 of the file: an unchanged file is not decoded again.

By content, not by path and time: ``ingest`` takes all files in anew, DVC may check them out, and hashing is several
times faster than decoding. A manifest is the same to the byte with and without the cache.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.code_version import code_of
from graft.core.files import atomic_file
from graft.modalities.base import ColumnType, Modality

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "stats.parquet"
_CODE = ("data/manifest.py", "data/stats_cache.py")
_VERSION_KEY = b"graft.stats"
# Statistics of other files are kept too, the latest first, up to this many rows.
_SPARE = 200_000


def schema_of(modality: Modality) -> pa.Schema:
    """The manifest's columns that follow from a file's bytes; everything can be missing."""
    import pyarrow as pa

    keys: dict[str, ColumnType] = {modality.fingerprint_column: "string", modality.near_key_column: "string"}
    columns = {"bytes": "int64", "sha256": "string", **modality.statistics, **keys, "problems": "string"}
    return pa.schema([pa.field(name, pa.type_for_alias(kind)) for name, kind in columns.items()])


def stats_version(modality: Modality) -> str:
    """Changes with whatever could change a statistic: the code that computes it, and the libraries under it."""
    lines = [modality.name, *code_of(_CODE), *code_of(modality.code), *modality.library_versions()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class StatsCache:
    """One parquet file in a folder (a workspace's ``.graft/cache``, or the user's). It may be deleted at any time."""

    folder: Path

    def load(self, modality: Modality) -> pa.Table:
        """Rows of decodable files; none where there is no such file, it is damaged, or another version wrote it."""
        import pyarrow.parquet as pq

        path, schema = self.folder / FILE, schema_of(modality)
        try:
            with path.open("rb") as file:
                rows = pq.read_table(file, page_checksum_verification=True)
            if (rows.schema.metadata or {}).get(_VERSION_KEY) == stats_version(modality).encode():
                return rows.replace_schema_metadata(None).cast(schema)
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError) as error:  # pyarrow's own errors are ValueErrors and KeyErrors
            _log(f"the statistics kept in {path} cannot be used ({error}); every file is decoded again")
        return schema.empty_table()

    def save(self, rows: pa.Table, known: pa.Table, modality: Modality) -> None:
        """Keep ``rows`` first, then what was known besides. A full or read-only disk is reported, and no error."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        good = rows.filter(pc.and_(pc.is_null(rows["problems"]), pc.is_valid(rows["sha256"])))
        others = known.filter(pc.invert(pc.is_in(known["sha256"], value_set=good["sha256"]))).slice(0, _SPARE)
        marked = pa.concat_tables([good, others]).replace_schema_metadata({_VERSION_KEY: stats_version(modality)})
        try:
            with atomic_file(self.folder / FILE) as tmp:
                pq.write_table(marked, tmp, compression="zstd", write_page_checksum=True)
        except OSError as error:
            _log(f"statistics cannot be kept in {self.folder} ({error.strerror or error}); the next run decodes again")


def _log(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
