"""What Prefect's page shows of a run: tables of the leaderboard and the figures, and a link to the report."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.outcome import StageRun
from flows.result import read_metrics, summary
from graft.workspace import Workspace


def publish(run: StageRun, workspace: Workspace) -> None:
    """Publish what a finished stage has just brought up to date; most stages bring nothing that is shown."""
    for path, show in (
        (workspace.selection / "leaderboard.csv", _leaderboard),
        (workspace.evaluation / "metrics.json", _metrics),
        (workspace.evaluation / "report.html", _report),
    ):
        file = path.resolve()
        # An output is named in dvc.yaml as the file itself or as the folder that holds it.
        if file.exists() and any(file == out or out in file.parents for out in run.outs):
            show(workspace)


def _leaderboard(workspace: Workspace) -> None:
    with (workspace.selection / "leaderboard.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    create_table_artifact(rows, key="leaderboard", description="Candidates, best first")


def _metrics(workspace: Workspace) -> None:
    rows = [{"figure": name, "value": value} for name, value in flat(read_metrics(workspace))]
    create_table_artifact(rows, key="metrics", description="Figures on the test images")


def _report(workspace: Workspace) -> None:
    address = (workspace.evaluation / "report.html").resolve().as_uri()
    text = f"[The whole report]({address})\n\n```text\n{summary(workspace)}\n```\n"
    create_markdown_artifact(text, key="report", description="What the run has come to")


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested figures as ``a.b.c`` and a value that a table can hold; lists become text, NaN becomes nothing."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield prefix + name, ", ".join(str(item) for item in value)
        else:
            yield prefix + name, None if isinstance(value, float) and not math.isfinite(value) else value
