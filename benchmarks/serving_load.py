"""`bentoml serve` at three times what it can do, and for a long time: goodput, how fast it refuses, and its memory.

Run from the project's folder, with nothing else at work: `.venv/bin/python benchmarks/serving_load.py` (34 minutes,
30 of them a soak; `--quick` 3 minutes, 1 of them a soak). The model and the images are those of serving.py. The peak
is what 8 clients get who ask again when they are answered; then load.py sends three times as many a second, whether
answers come or not. Both are measured in turns, because the machine changes from minute to minute, and the figures are
those of the turn in the middle. Then 8 clients go on for the soak. Memory is that of all processes of the service, in
the part that is their own (PSS); it is flat if its median in the last quarter of the soak is within 5% of that in the
second.

Ends with one JSON line: `goodput` is the answers a second under overload over the peak of the same turn, `goodputs`
that of all turns, `refused_p99_ms` how long it took to be sent away, `memory_growth` the soak's last quarter over its
second, `errors` all that was neither answered nor sent away.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from serving import Service, ask, commit, make_model, photographs, running

from graft.core.determinism import available_cores

CLIENTS = 8
TIMES = 3
TURNS = 5
FLAT = 1.05


def family(port: int) -> list[psutil.Process]:
    """All processes of the service that listens on ``port``: who started it, and its children."""
    for process in psutil.process_iter(["cmdline"]):
        if {"serve", str(port)} <= set(process.info["cmdline"] or []):
            return [process, *process.children(recursive=True)]
    raise SystemExit(f"nobody serves on port {port}")


def memory_mb(processes: list[psutil.Process]) -> float:
    """What they have of memory together, pages that are shared counted once."""
    total = 0
    for process in processes:
        full = process.memory_full_info()
        total += getattr(full, "pss", full.rss)
    return total / 1e6


@contextmanager
def watched(port: int, every: float) -> Iterator[list[float]]:
    """Note the service's memory every so many seconds."""
    processes, values, ended = family(port), [], threading.Event()

    def look() -> None:
        while not ended.wait(every):
            values.append(memory_mb(processes))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield values
    finally:
        ended.set()
        thread.join()


@dataclass(frozen=True)
class Turn:
    """One peak, in answers a second, and what load.py said of three times as many requests right after it."""

    peak: float
    over: dict[str, object]

    @property
    def goodput(self) -> float:
        """Answers a second under overload over the peak."""
        return float(str(self.over["per_second"])) / self.peak


def turn(port: int, images: list[Path], seconds: float) -> Turn:
    """Measure both, each for so many seconds."""
    peak = float(str(ask(port, images, "--clients", str(CLIENTS), "--seconds", str(seconds))["per_second"]))
    found = Turn(peak, ask(port, images, "--rate", str(TIMES * peak), "--seconds", str(seconds)))
    print(f"peak {peak:.1f} a second; at {TIMES} times that: {found.over}", file=sys.stderr, flush=True)
    return found


def errors(said: dict[str, object]) -> int:
    """Requests that were neither answered nor refused."""
    statuses = said["statuses"]
    assert isinstance(statuses, dict)
    return sum(count for status, count in statuses.items() if status not in {"200", "429"})


def measure(asked: argparse.Namespace, folder: Path) -> dict[str, object]:
    """All figures."""
    project = make_model(folder / "project")
    (folder / "images").mkdir()
    images = photographs(folder / "images")
    seconds = 10 if asked.quick else 15
    with running(Service("graft", "graft"), project, project / "models" / "packaged") as (port, ready):
        ask(port, images, "--clients", str(CLIENTS), "--seconds", "5")
        turns = sorted((turn(port, images, seconds) for _ in range(TURNS)), key=lambda one: one.goodput)
        length = asked.minutes * 60
        with watched(port, every=max(0.5, length / 400)) as memory:
            soak = ask(port, images, "--clients", str(CLIENTS), "--seconds", str(length))
    quarter = max(1, len(memory) // 4)
    second, last = memory[quarter : 2 * quarter] or memory, memory[-quarter:]
    growth = statistics.median(last) / statistics.median(second)
    middle = turns[TURNS // 2]
    refused = middle.over.get("refused")
    return {
        "cores": available_cores(),
        "ready_s": round(ready, 2),
        "peak_per_second": middle.peak,
        "overload": middle.over,
        "goodput": round(middle.goodput, 3),
        "goodputs": [round(one.goodput, 3) for one in turns],
        "refused_p99_ms": refused["p99_ms"] if isinstance(refused, dict) else None,
        "soak_minutes": asked.minutes,
        "soak": soak,
        "memory_mb": round(statistics.median(last), 1),
        "memory_growth": round(growth, 4),
        "memory_is_flat": growth <= FLAT,
        "errors": sum(errors(one.over) for one in turns) + errors(soak),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a soak of one minute")
    parser.add_argument("--minutes", type=float, help="length of the soak (default: 30, quick: 1)")
    asked = parser.parse_args()
    asked.minutes = asked.minutes or (1 if asked.quick else 30)
    with tempfile.TemporaryDirectory(prefix="graft-serving-") as folder:
        figures = measure(asked, Path(folder))
    print(json.dumps({"benchmark": "serving_load", "commit": commit(), **figures}))


if __name__ == "__main__":
    main()
