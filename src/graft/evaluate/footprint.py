"""What memory a model takes: a process of its own loads it, answers for a few images, and tells its peak.

Its own, because the memory of the process that evaluates is that of ten models and of all that was kept before.
Run as ``python -m graft.evaluate.footprint FOLDER THREADS IMAGE...``; prints bytes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graft.images.packed import StoredImage

_SECONDS = 300
SWITCHED_OFF = "evaluate.measure_memory is false in params.yaml"


@dataclass(frozen=True)
class Footprint:
    """Peak resident memory in megabytes of 1,000,000 bytes, or None and why it is not known."""

    peak_mb: float | None
    reason: str | None = None


def measure_footprint(folder: Path, images: Sequence[StoredImage], threads: int) -> Footprint:
    """Start the process and read what it tells.

    Args:
        folder: the model's.
        images: image files to answer for, at least one.
        threads: CPU threads that torch may use.
    """
    command = [sys.executable, "-m", "graft.evaluate.footprint", str(folder), str(threads)]
    try:
        with tempfile.TemporaryDirectory() as scratch:
            copies = [_copied(image, Path(scratch) / str(place)) for place, image in enumerate(images)]
            done = subprocess.run([*command, *copies], capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Footprint(None, f"the process that measures it did not end: {error}")
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return Footprint(None, f"the process that measures it failed: {last}")
    return Footprint(int(done.stdout) / 1e6)


def _copied(image: StoredImage, copy: Path) -> str:
    """A file of its own, which a packed image is not."""
    copy.write_bytes(image.read_bytes())
    return str(copy)


def peak_bytes() -> int:
    """The most memory this process has had resident, in bytes."""
    try:
        # Not ru_maxrss: on Linux that of a parent lives on in the child that it starts.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main(folder: str, threads: str, *images: str) -> None:
    """Load, answer, tell."""
    from graft.determinism import make_deterministic
    from graft.predict import Predictor

    make_deterministic(int(threads))
    predictor = Predictor.load(Path(folder))
    for image in images:
        predictor.answer([predictor.prepare(Path(image))])
    print(peak_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
