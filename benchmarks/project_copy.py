"""A copy of the project to run its pipeline in, and what a command takes."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

Row = dict[str, Any]

ROOT = Path(__file__).resolve().parents[1]
LAST_LINES = 12  # that are shown of a run that failed


@dataclass(frozen=True)
class Finished:
    """A command that ended.

    Attributes:
        seconds: of the clock.
        cpu_s: of all cores, user and system.
        peak_gb: of its largest process.
        stages: seconds of each stage that DVC ran.
        output: its lines.
    """

    seconds: float
    cpu_s: float
    peak_gb: float
    stages: dict[str, float]
    output: tuple[str, ...]


class RunFailedError(Exception):
    """A command failed; the message is how its output ends."""


def finish(command: Sequence[str], folder: Path) -> Finished:
    """Run a command, of DVC's or any other.

    Raises:
        RunFailedError: it ended with another status than 0.
    """
    began, lines, marks = time.perf_counter(), [], []
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith("Running stage '"):
                marks.append((line.split("'")[1], time.perf_counter()))
        # Of this command and those it waited for. RUSAGE_CHILDREN would know those of earlier runs as well.
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    ended = time.perf_counter()
    if process.returncode:
        raise RunFailedError("\n".join([line for line in lines if line][-LAST_LINES:]))
    ends = [*(mark for _, mark in marks), ended][1:]
    stages = {name: round(end - mark, 1) for (name, mark), end in zip(marks, ends, strict=True)}
    return Finished(ended - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e6, stages, tuple(lines))


def changed(params: Row, changes: Mapping[str, Any]) -> Row:
    """The settings with each dotted key set to its value."""
    for key, value in changes.items():
        *sections, last = key.split(".")
        section = params
        for name in sections:
            section = section.setdefault(name, {})
        section[last] = value
    return params


def copied(folder: Path, changes: Mapping[str, Any]) -> Path:
    """A copy of what git tracks, with this folder's .venv and these keys (dotted) of params.yaml changed."""
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    file = folder / "params.yaml"
    params = changed(yaml.safe_load(file.read_text(encoding="utf-8")), changes)
    file.write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    return folder


def costs(model: Finished, proof: Finished) -> Row:
    """Time and memory."""
    return {
        "model_s": round(model.seconds, 1),
        "all_s": round(model.seconds + proof.seconds, 1),
        "model_cpu_s": round(model.cpu_s, 1),
        "all_cpu_s": round(model.cpu_s + proof.cpu_s, 1),
        "model_peak_gb": round(model.peak_gb, 2),
        "peak_gb": round(max(model.peak_gb, proof.peak_gb), 2),
        "stages_s": {**model.stages, **{f"{name} (proof)": taken for name, taken in proof.stages.items()}},
    }


def read_json(file: Path) -> Row:
    """What a report says; nothing where there is none."""
    found: Row = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return found


def figures_of(project: Path) -> Row:
    """What the reports say of the delivered model."""
    reports = project / "reports"
    metrics, winner = read_json(reports / "evaluation/metrics.json"), read_json(reports / "selection/winner.json")
    strategy, transfer = read_json(reports / "training/strategy.json"), metrics["transfer"]
    transfer |= read_json(reports / "control/control.json")
    return {
        "strategy": strategy.get("strategy"),
        "depth": winner.get("depth"),
        "cv_accuracy": round(float(np.mean(winner["cv_scores"])), 4),
        "accuracy": round(metrics["accuracy"], 4),
        "accuracy_ci95": [round(bound, 4) for bound in metrics["accuracy_ci95"]],
        "n_train": metrics["n_train"],
        "n_test": metrics["n_test"],
        "transfer": transfer.get("verdict"),
        "transfer_rule": transfer.get("rule"),
        "transfer_difference": transfer.get("difference"),
        "transfer_difference_ci95": transfer.get("difference_ci95"),
    }


def digest(file: Path) -> str:
    """SHA-256."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def hits(project: Path) -> dict[str, bool]:
    """Of each tested image whether the model is right on it."""
    with (project / "reports/evaluation/predictions.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    return {digest(project / "data/raw" / row["path"]): row["label"] == row["predicted"] for row in rows}
