"""Freed memory stays with the process, unless the user has set glibc's allocator."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Page faults of writing 64 MB five times, freed in between: of 4 kB each it takes 16,384 pages.
FAULTS = (
    "import resource; import numpy as np; from graft.core.compat.malloc import keep_freed_memory\n"
    "done = keep_freed_memory() if {keep} else None\n"
    "def write(): np.empty(64 << 20, dtype=np.uint8).fill(1)\n"
    "write(); before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
    "for _ in range(5): write()\n"
    "print(done, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"
)
# Large pages would hide the difference.
SMALL_PAGES = {"NUMPY_MADVISE_HUGEPAGE": "0"}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is about glibc")


def faults(keep: bool, **variables: str) -> tuple[str, int]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    code, env = FAULTS.format(keep=keep), {**environment, **SMALL_PAGES, **variables}
    done, count = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True).stdout.split()
    return done, int(count)


def test_freed_memory_is_taken_again_without_asking_linux() -> None:
    assert faults(keep=False)[1] > 5 * 10_000
    done, count = faults(keep=True)
    assert done == "True" and count < 1_000


def test_what_the_user_has_set_stands() -> None:
    done, count = faults(keep=True, MALLOC_MMAP_THRESHOLD_="131072")
    assert done == "False" and count > 5 * 10_000
