"""What the service was asked, against what the model was trained on: ``python -m flows.monitor`` tells and can train.

The service writes its answers into the journal; validation's own measure of drift compares them (graft.monitor).
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
from flows.notify import tell, tell_of_end  # noqa: E402
from flows.pipeline import run_flow  # noqa: E402
from graft.config import load_params  # noqa: E402
from graft.errors import GraftError  # noqa: E402
from graft.journal import Journal  # noqa: E402
from graft.monitor.verdict import Monitored, examine  # noqa: E402
from graft.workspace import Workspace  # noqa: E402

DAY = 86_400.0  # seconds
NEEDS_SOMEBODY = {"drifted", "worse"}


@flow(name="graft-monitor", on_failure=[tell_of_end], on_crashed=[tell_of_end])
def monitor(root: str = ".", days: float = 7.0) -> State[Any]:
    """Compare the answers of the last ``days`` with training, show a table, and emit ``graft.drifted`` where due.

    Args:
        root: the project's folder.
        days: how far back to look.
    """
    workspace = Workspace(Path(root).resolve())
    try:
        if not days >= 0:
            raise GraftError(f"there are no {days:g} days to look back on", where="days", remedy="give 0 or more")
        limit = load_params(workspace.params).validation.max_drift
        found = examine(workspace, Journal(workspace.journal).read(time.time() - days * DAY), limit)
    except GraftError as error:
        return Failed(message=error.message())
    words = found.describe()
    create_table_artifact(rows_of(found), key="monitor", description=f"Answers of the last {days:g} days: {words}")
    if found.word in NEEDS_SOMEBODY:
        emit(DRIFTED, workspace, verdict=found.word, what=words)
        tell(f"graft-monitor: {workspace.root.name} {found.word}", words)
    return Completed(name=found.word.capitalize(), message=words)


def rows_of(found: Monitored) -> list[dict[str, Any]]:
    """The table for people: a row per fact, and one for the accuracy."""
    rows: list[dict[str, Any]] = [
        {
            "fact": shift.fact,
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
        rows.append(
            {
                "fact": "accuracy",
                "limit": known.promised,
                "result": "worse" if known.is_worse else "as promised",
                "found": f"{known.value:.3f} ({known.low:.3f} to {known.high:.3f}) on {known.labels:,} labels",
            }
        )
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
