"""Artifacts of a run on Prefect's page: validation's findings, leaderboard, figures, doubted labels, the report."""

from __future__ import annotations

import csv
import json
import math
import os
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
from prefect import get_run_logger
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from flows.project import project_id
from flows.result import summary
from graft.core.workspace import Workspace
from graft.registry.gate import read_metrics

# The environment may say under which address others read the project's folder `reports`.
ADDRESS = "GRAFT_REPORTS_URL"
# As many columns as a page shows side by side; the others are in the file and the report.
_LEADERBOARD = ("name", "why", "score", "score_se", "depth", "size", "params_m", "latency_ms")
_NAMED = 3
_MOST_SUSPECTS = 50


class ArtifactPublisher:
    """Publishes artifacts of a run; a server that went away is logged once, and asked no more."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._is_there = True

    def publish(self, outs: Collection[Path]) -> None:
        """Publish what a finished stage has just brought up to date.

        Args:
            outs: the stage's outputs in dvc.yaml, files or folders that hold them.
        """
        for path, create in (
            (self._workspace.validation / "validation.json", _findings),
            (self._workspace.selection / "leaderboard.csv", _leaderboard),
            (self._workspace.metrics, _metrics),
            (self._workspace.evaluation / "report.html", _report),
            (self._workspace.evaluation / "suspects.csv", _suspects),
        ):
            file = path.resolve()
            if file.exists() and any(file == out or out in file.parents for out in outs):
                self._create(create)

    def publish_findings(self, since: float) -> None:
        """Publish what validation found where it refuses the data, if written after ``since`` (seconds since 1970)."""
        file = self._workspace.validation / "validation.json"
        if file.exists() and file.stat().st_mtime >= since:
            self._create(_findings)

    def _create(self, create: Callable[[Workspace], None]) -> None:
        if not self._is_there:
            return
        try:
            create(self._workspace)
        except httpx.TransportError as error:
            self._is_there = False
            text = "the Prefect server does not answer (%s): this run goes on, and shows no more there"
            get_run_logger().warning(text, error, extra={"stage": "flow"})


def _key(workspace: Workspace, name: str) -> str:
    """An artifact's key; the page lists one's versions under it, so it carries the project."""
    return f"{project_id(workspace)}-{name}"


def _findings(workspace: Workspace) -> None:
    found = json.loads((workspace.validation / "validation.json").read_text(encoding="utf-8"))
    rows = [_finding(item) for item in sorted(found["expectations"], key=_urgency)]
    rows += [{"check": name, "result": "not checked", "expected": why} for name, why in found["not_checked"].items()]
    verdict = "this data can be trained on" if found["success"] else "this data is refused"
    text = f"What validation found in {found['source']}: {verdict}"
    create_table_artifact(rows, key=_key(workspace, "validation"), description=text)


def _urgency(finding: Mapping[str, Any]) -> int:
    """Sort key: failed expectations first, by severity."""
    return 3 if finding["success"] else ["critical", "quarantine", "warning"].index(finding["severity"])


def _finding(finding: Mapping[str, Any]) -> dict[str, Any]:
    named = [
        f"{who} ({what})" if what else who for who, what in zip(finding["sources"], finding["details"], strict=True)
    ]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return {
        "check": finding["check"],
        "result": "met" if finding["success"] else finding["severity"],
        "expected": finding["says"],
        "broken by": finding["count"],
        "named": ", ".join(named[:_NAMED]) + more,
        "to do": "" if finding["success"] else finding["remedy"],
    }


def _leaderboard(workspace: Workspace) -> None:
    rows = _rows(workspace.selection / "leaderboard.csv")
    shown = [name for name in _LEADERBOARD if rows and name in rows[0]]
    rows = [{name: row[name] for name in shown} for row in rows] if shown else rows
    create_table_artifact(rows, key=_key(workspace, "leaderboard"), description="Candidates, best first")


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def _metrics(workspace: Workspace) -> None:
    rows = [{"figure": name, "value": value} for name, value in flat(read_metrics(workspace.metrics))]
    create_table_artifact(rows, key=_key(workspace, "metrics"), description="Figures on the test images")


def _report(workspace: Workspace) -> None:
    report = workspace.evaluation / "report.html"
    text = f"The whole report: `{report.resolve()}` on {socket.gethostname()}"
    if base := os.environ.get(ADDRESS):
        address = f"{base.rstrip('/')}/{report.relative_to(workspace.root / 'reports').as_posix()}"
        create_link_artifact(address, link_text="The whole report", key=_key(workspace, "report-link"))
        text = f"[The whole report]({address})"
    text += f"\n\n```text\n{summary(workspace)}\n```\n"
    model_card = workspace.evaluation / "model_card.md"
    if model_card.exists():
        text += f"\n{model_card.read_text(encoding='utf-8')}"
    create_markdown_artifact(text, key=_key(workspace, "report"), description="What the run has come to")


def _suspects(workspace: Workspace) -> None:
    rows = _rows(workspace.evaluation / "suspects.csv")
    text = f"Training images whose label is doubted: {len(rows)}"
    more = f"; the {_MOST_SUSPECTS} least believable are shown" if len(rows) > _MOST_SUSPECTS else ""
    create_table_artifact(rows[:_MOST_SUSPECTS], key=_key(workspace, "suspects"), description=text + more)


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Flatten nested figures to ``a.b.c`` and a cell's value; lists become text, NaN becomes None."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield prefix + name, ", ".join(str(item) for item in value)
        else:
            yield prefix + name, None if isinstance(value, float) and not math.isfinite(value) else value
