"""The flow that checks the service's requests for drift from the training data (graft.monitoring)."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.artifacts import create_table_artifact
from prefect.states import Completed, Failed
from prefect.variables import Variable

from flows.cli import run_as_command, run_flow
from flows.project import DRIFTED, emit, project_id
from graft.core.config import load_params
from graft.core.errors import GraftError
from graft.core.workspace import Workspace
from graft.monitoring.drift import DriftReport, drift_report
from graft.monitoring.prediction_log import PredictionLog

DAY = 86_400.0  # seconds


@flow(name="graft-monitor", flow_run_name="monitor: the last {days:g} days")
def monitor(root: str = ".", days: float = 7.0) -> State[Any]:
    """Compare the answers of the last ``days`` with training, publish a table, and emit ``graft.drifted``.

    The event is emitted when a cause is new, not each time that the answers of days go on showing it.

    Args:
        root: the project's folder.
        days: how far back to look.
    """
    workspace = Workspace(Path(root).resolve())
    try:
        if not days >= 0:
            raise GraftError(f"there are no {days:g} days to look back on", where="days", remedy="give 0 or more")
        limit = load_params(workspace.params).validation.max_drift
        found = drift_report(workspace, PredictionLog(workspace.prediction_log).read(time.time() - days * DAY), limit)
    except GraftError as error:
        return Failed(message=error.message())
    words, project = found.describe(), project_id(workspace)
    description = f"Answers of the last {days:g} days: {words}"
    create_table_artifact(rows_of(found), key=f"{project}-monitor", description=description)
    if found.status != "too few answers":  # they do not say that what was found before is over
        known = f"{project}-drift"  # the causes that the event was emitted for
        before: Any = Variable.get(known, [])
        if new := [cause for cause in found.causes if cause not in before]:
            emit(DRIFTED, workspace, verdict=found.status, what=words, cause=", ".join(new))
        Variable.set(known, list(found.causes), overwrite=True)
    return Completed(name=found.status.capitalize(), message=words)


def rows_of(found: DriftReport) -> list[dict[str, Any]]:
    """The table for people: a row per fact, one for the accuracy, and one for each answer whose label is wanted."""
    rows: list[dict[str, Any]] = [
        {
            "fact": shift.feature,
            "distance": round(shift.distance, 3),
            "by chance up to": round(shift.chance, 3),
            "limit": found.limit,
            "result": "drifted" if shift in found.drifted else "steady",
            "found": shift.found,
        }
        for shift in found.shifts
    ]
    if found.accuracy is not None:
        known = found.accuracy
        result = "worse" if known.is_worse else "not worse" if known.judged else "not judged"
        rows.append({"fact": "accuracy", "limit": known.promised, "result": result, "found": known.describe()})
        rows += [{"fact": "accuracy", "result": "label wanted", "found": f"answer {one}"} for one in known.wanted]
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.monitor", description="Look whether the answers drift.")
    parser.add_argument("--days", type=float, default=7.0, help="how far back to look (default: 7)")
    parser.add_argument("--root", type=Path, default=Path(), help="the folder that holds dvc.yaml (default: this one)")
    chosen = parser.parse_args(arguments)
    return run_as_command(
        lambda: print(run_flow(lambda: monitor(str(chosen.root), chosen.days, return_state=True)).message)
    )


if __name__ == "__main__":
    sys.exit(main())
