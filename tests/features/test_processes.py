"""Several processes work in one cache at once, and one of them may be killed at any moment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from graft.features.cache import ArrayCache
from graft.features.keys import row_keys

# Makes rows of 2,000 numbers from names, many times over, with room for only some of them; each answer is checked.
WORKER = """
import random, sys, time, zlib
from pathlib import Path
import numpy as np
from graft.features.keys import row_keys
from graft.features.cache import ArrayCache

def row_of(name):
    return np.full((1, 2000), zlib.crc32(name.encode()), np.int64)

folder, seed = Path(sys.argv[1]), int(sys.argv[2])
chosen, made = random.Random(seed), []

def compute_for(names):
    def compute(missing, put):
        for place in missing.tolist():
            made.append(names[place])
            time.sleep(0.001)
            put(place, row_of(names[place]))
    return compute

print("ready", flush=True)
sys.stdin.readline()
store = ArrayCache(folder, 2e-4)
for turn in range(60):
    names = chosen.choices("abcdefgh", k=chosen.randint(1, 6))
    if turn % 3 == 0:
        store = ArrayCache(folder, 2e-4)
    rows = store.rows("features", "t", row_keys(names), compute_for(names))
    assert np.array_equal(rows, np.concatenate([row_of(name) for name in names])), names
print(len(made), flush=True)
"""

# Is killed after it has written one row of two.
HALF_WAY = """
import sys, time
from pathlib import Path
import numpy as np
from graft.features.keys import row_keys
from graft.features.cache import ArrayCache

def compute(missing, put):
    put(0, np.full((1, 2000), 7))
    print("half", flush=True)
    time.sleep(900)

ArrayCache(Path(sys.argv[1])).rows("features", "t", row_keys("ab"), compute)
"""


def _start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment()
    )


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def test_processes_that_add_and_remove_at_once_disturb_no_other(tmp_path: Path) -> None:
    workers = [_start(WORKER, tmp_path, seed) for seed in range(3)]
    for worker in workers:
        assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    ends = [(*worker.communicate(), worker.returncode) for worker in workers]
    assert [code for _, _, code in ends] == [0, 0, 0], [error for _, error, _ in ends]
    assert any("cache: removed" in error for _, error, _ in ends)
    assert not any("damaged" in error for _, error, _ in ends)
    assert list(tmp_path.rglob("*.part")) == []


def test_what_was_half_written_at_a_kill_is_never_read(tmp_path: Path) -> None:
    process = _start(HALF_WAY, tmp_path)
    assert process.stdout is not None and process.stdout.readline() == "half\n"
    process.kill()
    process.communicate()
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".part"]
    made: list[int] = []

    def compute(missing: np.ndarray, put: object) -> None:
        for place in missing.tolist():
            made.append(place)
            put(place, np.full((1, 2000), place))  # type: ignore[operator]

    rows = ArrayCache(tmp_path).rows("features", "t", row_keys("ab"), compute)
    assert made == [0, 1]
    assert rows[:, 0].tolist() == [0, 1]
