"""LRU eviction: keep the feature cache within its size limit."""

from __future__ import annotations

import sys
import time
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

from graft.features.row_file import PARTIAL, SUFFIX

# A file that is being written grows every few seconds; one that has not for so long was left by a killed process.
_ABANDONED_S = 3600.0


def evict_lru(folder: Path, limit_gb: float, in_use: Container[Path]) -> None:
    """Remove row files below ``folder``, least recently used first, until all files take at most ``limit_gb``.

    Partial files of killed processes are removed in any case. What was removed is printed to stderr in one line.

    Args:
        folder: of the cache; other files in it count, but are not removed.
        limit_gb: in 1e9 bytes.
        in_use: files that stay.
    """
    total, removable = 0, []
    for path in folder.rglob("*"):
        with suppress(OSError):  # removed by another process
            facts = path.lstat()
            if path.is_dir():
                continue
            if path.suffix == PARTIAL and facts.st_mtime < time.time() - _ABANDONED_S:
                path.unlink()
                continue
            total += facts.st_size
            if path.suffix == SUFFIX and path.is_relative_to(folder / "rows") and path not in in_use:
                removable.append((facts.st_mtime_ns, facts.st_size, path))
    freed, count = 0, 0
    for _, size, path in sorted(removable):
        if total - freed <= limit_gb * 1e9:
            break
        with suppress(OSError):
            path.unlink()
            freed, count = freed + size, count + 1
    if count:
        print(
            f"cache: removed {count} files ({freed / 1e9:.2g} GB) that were used longest ago, to stay within "
            f"{limit_gb:g} GB (compute.cache_gb)",
            file=sys.stderr,
            flush=True,
        )
