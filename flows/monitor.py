"""What the service was asked, against what the model was trained on: ``python -m flows.monitor`` tells and can train.

The service writes its answers into the journal; validation's own measure of drift compares them (graft.monitoring).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows import typed
from flows.startup import start

start()

from prefect import State, flow  # noqa: E402
from prefect.artifacts import create_table_artifact  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402

from flows.events import DRIFTED, emit  # noqa: E402
from flows.notify import tell_changes, tell_of_end  # noqa: E402
from flows.pipeline import run_flow  # noqa: E402
from flows.project import project_id  # noqa: E402
from graft.core.config import load_params  # noqa: E402
from graft.core.errors import GraftError  # noqa: E402
from graft.core.workspace import Workspace  # noqa: E402
from graft.monitoring.drift import DriftReport, drift_report  # noqa: E402
from graft.monitoring.prediction_log import PredictionLog  # noqa: E402

DAY = 86_400.0  # seconds
NEEDS_SOMEBODY = {"drifted", "worse"}


@flow(
    name="graft-monitor",
    flow_run_name="monitor: the last {days:g} days",
    on_failure=[tell_of_end],
    on_crashed=[tell_of_end],
    on_completion=[tell_of_end],
)
def monitor(root: str = ".", days: float = 7.0) -> State[Any]:
    """Compare the answers of the last ``days`` with training, and show a table.

    ``graft.drifted`` is emitted, and people are told, of each cause once: the answers of days go on showing it.

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
    # Too few answers do not say that what was found before is over.
    if found.status != "too few answers" and (
        new := tell_changes(workspace, "drift", f"graft-monitor: {project} {found.status}", found.causes)
    ):
        emit(DRIFTED, workspace, verdict=found.status, what=words, cause=", ".join(new))
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
    parser.add_argument("--run", action="store_true", help="run the pipeline here and now if they do")
    parser.add_argument("--root", type=Path, default=Path(), help="the folder that holds dvc.yaml (default: this one)")
    chosen = parser.parse_args(arguments)
    return typed.as_command(lambda: _look(chosen.root, chosen.days, chosen.run))


def _look(root: Path, days: float, run: bool) -> None:
    state = typed.run(lambda: monitor(str(root), days, return_state=True))
    if run and (state.name or "").lower() in NEEDS_SOMEBODY:
        run_flow(root)


if __name__ == "__main__":
    sys.exit(main())
