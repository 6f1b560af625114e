"""The presets quick, balanced and best on five data sets: time, memory and accuracy of the pipeline as a user runs it.

Run from the project's folder: `.venv/bin/python benchmarks/presets.py [--sets NAME ...] [--presets NAME ...] [--seeds N
...]`. Data, out of ../shared/data: hymenoptera as it is divided, NEU steel (20 images a class), CIFAR-10 (50),
caltech20 and the photographs of PACS (10), with at most 100 tested images a class; the draw follows from the seed. Each
run works on a copy of what git tracks, in a temporary folder, with this folder's .venv: `dvc repro package` from params
to packaged model, then `dvc repro` for what is left of the proof. EfficientNet-Lite0 with bundled weights at 128 px;
hymenoptera at the size that graft chooses (224 px). `--set KEY=VALUE` changes another key of params.yaml, and the
preset `shipped` changes none. The set hymenoptera_folds has all its images in five folds, a seed each.

`model_s` ends with the packaged model and `all_s` with the proof; memory is that of the largest process, in GB. The
linear probe is that of linear_probe.py, on the same images; the gain over it has a paired 95% interval. Prints a JSON
line for each run as soon as it is done. `--quick`: one set, preset quick. Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from drawn_sets import FIVE, SETS, SHARED, DrawnSet, present_sets
from project_copy import ROOT, Row, RunFailedError, copied, costs, figures_of, finish, hits

from graft.core.determinism import available_cores
from graft.stats.paired import compare_pair

PRESETS = ("quick", "balanced", "best")
SHIPPED = "shipped"


@dataclass(frozen=True)
class Drawn:
    """A set as it was drawn.

    Attributes:
        part: what it is.
        seed: of the draw, and of the project.
        folder: ``train`` and ``test`` (or ``val``).
        weights: the weights, and a batch with its features, for another library (see linear_probe.py).
        probe: figures of the linear probe.
        probe_right: SHA-256 of the tested images that it gets right.
    """

    part: DrawnSet
    seed: int
    folder: Path
    weights: Path
    probe: Row
    probe_right: frozenset[str]


@dataclass(frozen=True)
class Turn:
    """What a run of the pipeline came to: figures, and of each tested image (SHA-256) whether the model is right."""

    row: Row
    right: Mapping[str, bool]


# Who has a turn after graft's presets, on the same images: given what these came to, its own rows.
Rival = Callable[[Drawn, Mapping[str, Turn]], Iterator[Row]]


def settings(drawn: Drawn, preset: str) -> Row:
    """What a user writes into params.yaml."""
    part = drawn.part
    candidate = {"arch": "timm:tf_efficientnet_lite0", "weights": "bundled", "depth": "auto", "size": part.size}
    named = {} if preset == SHIPPED else {"preset": preset}
    sized = {} if part.size is None else {"zoo.candidates": [candidate]}
    return {"seed": drawn.seed, "data.source": str(drawn.folder), **named, **sized}


def graft(drawn: Drawn, preset: str, more: Mapping[str, Any]) -> Turn:
    """The whole pipeline, from params to model and proof."""
    with tempfile.TemporaryDirectory() as scratch:
        project = copied(Path(scratch) / "project", {**settings(drawn, preset), **more})
        model = finish([".venv/bin/dvc", "repro", "package"], project)
        proof = finish([".venv/bin/dvc", "repro"], project)
        right = hits(project)
        return Turn({**figures_of(project), **costs(model, proof), **gain(right, drawn)}, right)


def paired(first: Mapping[str, bool], second: Mapping[str, bool]) -> tuple[float, list[float]]:
    """Accuracy of the first minus that of the second on the images that both know, and its 95% interval."""
    both = sorted(first.keys() & second.keys())
    one, other = (np.array([side[image] for image in both]) for side in (first, second))
    test = compare_pair(one, other, np.arange(len(both)))
    return round(test.difference, 4), [round(bound, 4) for bound in test.interval.pair()]


def gain(right: Mapping[str, bool], drawn: Drawn) -> Row:
    """What the model has over the linear probe on the same images."""
    difference, interval = paired(right, {image: image in drawn.probe_right for image in right})
    names = ("probe_accuracy", "head_accuracy")
    return {name: drawn.probe[name] for name in names} | {"gain": difference, "gain_ci95": interval}


def draw(part: DrawnSet, seed: int, scratch: Path) -> Drawn:
    """Draw a set, and measure the probe in a process of its own: it needs torch, which would count as this one's."""
    folder, weights = part.draw(seed, scratch / "images").resolve(), scratch / "weights.safetensors"
    command = [sys.executable, str(ROOT / "benchmarks/linear_probe.py"), str(folder), "--weights", str(weights)]
    command += [] if part.size is None else ["--size", str(part.size)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    probe = json.loads(done.stdout.strip().splitlines()[-1])
    return Drawn(part, seed, folder, weights, probe, frozenset(probe.pop("right")))


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        sets: on which data.
        absent: names of those that are not here.
        seeds: of the draws.
        presets: in this order.
        changes: other keys of params.yaml.
    """

    sets: Sequence[DrawnSet]
    absent: Sequence[str]
    seeds: Sequence[int]
    presets: Sequence[str]
    changes: Mapping[str, Any]


def measure(plan: Plan, rival: Rival | None = None) -> Iterator[Row]:
    """A row for each run; one that fails says why in ``failed``, and the next ones run all the same."""
    for part in plan.sets:
        for seed in plan.seeds:
            with tempfile.TemporaryDirectory() as scratch:
                drawn = draw(part, seed, Path(scratch))
                turns: dict[str, Turn] = {}
                for preset in plan.presets:
                    named = {"data": part.name, "seed": seed, "preset": preset}
                    try:
                        turns[preset] = graft(drawn, preset, plan.changes)
                        yield {**named, **turns[preset].row}
                    except RunFailedError as failed:
                        yield {**named, "failed": str(failed)}
                for row in rival(drawn, turns) if rival is not None else ():
                    yield {"data": part.name, "seed": seed, **row}


def by_preset(rows: Sequence[Row]) -> Row:
    """Of each preset the mean and the least gain over the probe, in points, the longest time and the most memory."""
    found: Row = {}
    for preset in dict.fromkeys(row["preset"] for row in rows if "gain" in row):
        own = [row for row in rows if row.get("preset") == preset and "gain" in row]
        found[preset] = {
            "runs": len(own),
            "mean_gain_points": round(100 * float(np.mean([row["gain"] for row in own])), 2),
            "least_gain_points": round(100 * min(row["gain"] for row in own), 2),
            "longest_model_s": max(row["model_s"] for row in own),
            "longest_all_s": max(row["all_s"] for row in own),
            "most_peak_gb": max(row["peak_gb"] for row in own),
        }
    return found


def arguments(parser: argparse.ArgumentParser, presets: Sequence[str]) -> None:
    """What may be chosen on the command line."""
    parser.add_argument(
        "--sets", nargs="+", choices=list(SETS), default=list(FIVE), metavar="NAME", help=", ".join(SETS)
    )
    parser.add_argument("--presets", nargs="+", choices=[*PRESETS, SHIPPED], default=list(presets))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another key of params.yaml")
    parser.add_argument("--quick", action="store_true", help="one set, preset quick")


def plan_of(given: argparse.Namespace) -> Plan:
    """What the command line asks for."""
    names, presets = (["photo"], ["quick"]) if given.quick else (given.sets, given.presets)
    sets, absent = present_sets(names)
    if absent:
        print(f"left out, as they are not in {SHARED}: {', '.join(absent)}", file=sys.stderr)
    changes = {key: yaml.safe_load(value) for key, _, value in (change.partition("=") for change in given.set)}
    return Plan(sets, absent, given.seeds, presets, changes)


def report(benchmark: str, plan: Plan, rows: Iterator[Row], summary: Callable[[Sequence[Row]], Row]) -> None:
    """Print each row as it comes, then all of them and what they come to; exit with 1 where a run failed."""
    kept = []
    for row in rows:
        print(json.dumps(row), flush=True)
        kept.append(row)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    head = {"benchmark": benchmark, "commit": commit.stdout.strip(), "cores": available_cores(), "absent": plan.absent}
    print(json.dumps({**head, "changes": plan.changes, "summary": summary(kept), "rows": kept}))
    sys.exit(any("failed" in row for row in kept))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    arguments(parser, PRESETS)
    plan = plan_of(parser.parse_args())
    report("presets", plan, measure(plan), by_preset)


if __name__ == "__main__":
    main()
