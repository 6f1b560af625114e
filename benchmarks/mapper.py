"""What a second worker brings: the selection of three candidates by two workers of one thread each, against one.

Run from the project's folder, on a machine with two cores and nothing else to do:
`.venv/bin/python benchmarks/mapper.py [--engines processes dask ray] [--turns 3] [--quick]`. The data are the built-in
digits with their 0.8 of images to train on at 64 px, the candidates ResNet-18, MobileNetV3-small and ShuffleNetV2 with
random weights (nothing is transferred, but the work is the same, and no file is needed), all of them finalists, in 4
folds. Target: at least 1.6 times as fast by two workers.

Selections by one and by two workers alternate, each with an empty cache; the best of the turns counts. The cluster is
begun and its workers have imported everything before the clock runs: a selection of hours does not notice those
seconds, and what this asks is whether the work divides. How long they took is told beside. Every selection's scores are
compared with those of one after the other in this process: they must be equal to the bit. `--quick` takes 300 images,
one epoch and one turn, to see that it works. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graft.cli.ranking import Places, train_part
from graft.core.config import parse_params
from graft.core.determinism import available_cores, make_deterministic
from graft.core.settings import Compute, Params
from graft.features.cache import ArrayCache
from graft.parallel.factory import mapper_for
from graft.parallel.mapper import Mapper
from graft.parallel.outcomes import value_of
from graft.pipeline.inputs.selection import selection_inputs
from graft.selection.inputs import TrainSet
from graft.selection.selection import SelectionResult, run_selection

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5")
SIZE, FOLDS, EPOCHS = 64, 4, 8
QUICK_PER_CLASS, QUICK_EPOCHS = 30, 1
ENGINES = ("processes", "dask", "ray")
TARGET = 1.6


@dataclass
class Measured:
    """Seconds of the selections by an engine with so many workers, and until these were ready."""

    ready: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def settings(quick: bool) -> Params:
    """Three candidates, all of them finalists, one thread."""
    candidates = [{"arch": name, "weights": "none", "size": SIZE} for name in NAMES]
    select, train = {"folds": FOLDS, "finalists": len(NAMES)}, {"epochs": QUICK_EPOCHS if quick else EPOCHS}
    data = {"source": "digits", "train_per_class": QUICK_PER_CLASS if quick else None}
    values = {"zoo": {"candidates": candidates}, "augment": {"policy": "digits"}, "select": select, "train": train}
    values |= {"data": data, "compute": {"threads": 1}}
    return parse_params(values, "benchmark")


def warm(number: int) -> int:
    """Import what a selection needs, and stay long enough that every worker has to do one of these."""
    import graft.selection.selection  # noqa: F401

    time.sleep(3)
    return os.getpid()


def selection(data: TrainSet, params: Params, mapper: Mapper | None) -> tuple[float, SelectionResult]:
    """Seconds of a selection from nothing, and how it went."""
    with tempfile.TemporaryDirectory() as cache:
        begun = time.perf_counter()
        contest = run_selection(
            selection_inputs(data, params, ROOT, ArrayCache(Path(cache))), lambda line: None, mapper
        )
        return time.perf_counter() - begun, contest


def scores(contest: SelectionResult) -> list[Any]:
    """What must be equal to the bit."""
    return [(item.candidate.arch, item.finetuned, item.probe.fold_scores, item.logme) for item in contest.results]


def measure(engine: str, workers: int, data: TrainSet, params: Params, measured: Measured) -> list[Any]:
    """One selection by an engine; its scores."""
    begun = time.perf_counter()
    with mapper_for(Compute(mapper=engine, workers=workers, threads=1)) as mapper:  # type: ignore[arg-type]
        found = {value_of(item) for item in mapper.map(warm, range(2 * workers), "warming up")}
        assert len(found) == workers, "every worker is ready"
        measured.ready.append(time.perf_counter() - begun)
        seconds, contest = selection(data, params, mapper)
    measured.seconds.append(seconds)
    return scores(contest)


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", nargs="+", default=ENGINES, choices=ENGINES)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="few images, one epoch, one turn")
    given = parser.parse_args()
    make_deterministic(1)
    params = settings(given.quick)
    found = {name: {workers: Measured() for workers in (1, 2)} for name in given.engines}
    with tempfile.TemporaryDirectory() as scratch:
        places = Places(ROOT, ROOT, Path(scratch) / "cache", Path(scratch))
        data = train_part("digits", params, places)
        alone_s, alone = selection(data, params, None)
        equal = True
        for _ in range(1 if given.quick else given.turns):
            for name in given.engines:
                for workers in (1, 2):
                    equal &= measure(name, workers, data, params, found[name][workers]) == scores(alone)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    figures: dict[str, Any] = {
        "benchmark": "mapper",
        "commit": commit.stdout.strip(),
        "cores": available_cores(),
        "load_average": os.getloadavg()[0],
        "quick": given.quick,
        "images": len(data.labels),
        "serial_s": round(alone_s, 1),
        "same_to_the_bit": equal,
        "target": TARGET,
    }
    for name, by_workers in found.items():
        one, two = (min(by_workers[workers].seconds) for workers in (1, 2))
        ready = round(min(by_workers[2].ready), 1)
        figures[name] = {
            "one_s": round(one, 1),
            "two_s": round(two, 1),
            "speedup": round(one / two, 2),
            "two_ready_s": ready,
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
