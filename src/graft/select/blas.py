"""How many threads linear algebra may use: one for the small matrices of most probes, all of them for large ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

# Below this much work, several threads spend their time waiting for each other: up to 50 times as long as one alone
# takes where other work goes on beside it. Above it, a product of matrices has enough for each of them to do.
SMALL_WORK = 5e9


@contextmanager
def threads_for(work: float) -> Iterator[None]:
    """Let what runs inside use one thread, unless its largest step has ``work`` multiplications or more to share."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1 if work < SMALL_WORK else None):
        yield
