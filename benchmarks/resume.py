"""Kill -9 at random moments: whether a fine-tuning that is killed again and again ends in the same bytes.

Run from the project's folder: `.venv/bin/python benchmarks/resume.py`. A hundred kills (`--kills N` for others) over
trainings by every strategy that has epochs, on 24 images of 32 px, with a checkpoint after every step. Each kill comes
from outside, after a random time from a seed (`--seed N`) between no time and the time of a whole training. Ends with
one JSON line: the kills that hit, the trainings they were spread over, how many of these ended with the sha256 of the
uninterrupted one, and the seconds of an uninterrupted training of each kind.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.training.killed import Case, run  # noqa: E402  (it lies beside the tests that use it too)

CASES = [
    ("squeezenet1_1", "finetune", "light", {"dropout": 0.2}),
    ("squeezenet1_1", "finetune", "light", {"unfreeze": 0.5, "ema_decay": 0.5, "grad_clip_norm": 1.0}),
    ("squeezenet1_1", "finetune", "mixup", {"unfreeze": 1.0, "imbalance": "sampling", "layer_decay": 0.7}),
    ("resnet18", "scratch", "light", {}),
]


def measure(folder: Path, kills: int, seed: int) -> dict[str, object]:
    """Kill until so many kills have hit."""
    chance = random.Random(seed)
    wholes, seconds = [], []
    for number, case in enumerate(CASES):
        wholes.append(Case(folder / f"whole-{number}", *case))
        assert run(wholes[-1]) == 0
        began = time.perf_counter()
        assert run(Case(folder / f"timed-{number}", *case)) == 0
        seconds.append(time.perf_counter() - began)
    hits = same = trainings = 0
    while hits < kills:
        which = trainings % len(CASES)
        case = Case(folder / f"killed-{trainings}", *CASES[which])
        while run(case, after=chance.uniform(0, seconds[which])) != 0:
            hits += 1
        trainings += 1
        same += case.weights == wholes[which].weights
        print(f"{hits} kills, {same} of {trainings} trainings the same", file=sys.stderr)
    return {"kills": hits, "trainings": trainings, "same_sha256": same, "training_s": [round(s, 2) for s in seconds]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(Path(scratch), options.kills, options.seed)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    print(
        json.dumps({"benchmark": "resume", "commit": commit, "cores": os.cpu_count(), "seed": options.seed, **figures})
    )
    if figures["same_sha256"] != figures["trainings"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
