"""Runs whose process died are found by their records, end as crashed in Prefect, and are resumed.

A killed process tells nobody: its run would be `Running` for ever. DVC keeps what each finished stage has made, so a
resumed run repeats none of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from flows.startup import end_quickly, start

start()

from prefect import State, flow, get_client  # noqa: E402
from prefect.client.orchestration import SyncPrefectClient  # noqa: E402
from prefect.client.schemas.filters import (  # noqa: E402
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType  # noqa: E402
from prefect.exceptions import ObjectNotFound  # noqa: E402
from prefect.states import Completed, Crashed  # noqa: E402

from flows.deployments import SILENT  # noqa: E402
from flows.notify import tell  # noqa: E402
from flows.server import address  # noqa: E402
from flows.terminal import say  # noqa: E402
from flows.turn import Record, forget, is_over, records  # noqa: E402
from graft.core.errors import exit_code  # noqa: E402
from graft.core.workspace import Workspace  # noqa: E402

# A run that dies again and again has a cause that another try does not cure.
MOST_RESUMES = 3
RESUMES = "resumes"
# Whoever has just said how it ended is about to tell the server so itself.
SETTLING_SECONDS = 60.0


@flow(name="graft-crashes", flow_run_name="crashes")
def crashes(root: str = ".", resume: bool = True) -> State[Any]:
    """End the runs of this project whose process is gone, and resume those that a deployment had started.

    Args:
        root: the project's folder, on this machine.
        resume: start them again.
    """
    found = bury_dead_runs(Workspace(Path(root).resolve()), resume=resume)
    return Completed(message=f"{len(found)} runs had died")


def bury_dead_runs(workspace: Workspace, *, resume: bool = False) -> list[Record]:
    """Tell the server of every run of this project that is over although the server does not know it.

    Args:
        workspace: the project.
        resume: start what a deployment had started again.

    Returns:
        The records of those that died.
    """
    here = address()
    over = [record for record in records(workspace) if record.api == here and is_over(workspace, record)]
    due = [record for record in over if not (record.state and 0 <= time.time() - record.since < SETTLING_SECONDS)]
    if not due:
        return []
    died = []
    with get_client(sync_client=True) as client:
        for record in due:
            if _settle(client, record, resume):
                died.append(record)
            forget(workspace, record)
    return died


def _settle(client: SyncPrefectClient, record: Record, resume: bool) -> bool:
    """Give the run its end where it has none; returns whether it died."""
    try:
        run = client.read_flow_run(UUID(record.run))
    except ObjectNotFound:
        return False  # somebody deleted it, or this is another server at the old one's address
    known = run.state
    if record.state:
        if known is None or not known.is_final():
            state: State[Any] = State(type=StateType(record.state), message=record.message)
            client.set_flow_run_state(run.id, state, force=True)
        return False
    if known is not None and known.is_final() and not known.is_crashed():
        return False  # cancelled by hand, for one
    message = f"its process ({record.pid} on {record.host}) is gone; finished stages are kept"
    unknown = known is None or not known.is_final()
    if unknown:
        client.set_flow_run_state(run.id, Crashed(message=message), force=True)
    _end_tasks(client, run.id)
    if unknown or (known is not None and known.message == SILENT):  # whoever ended it so told nobody
        tell(f"{run.name} crashed", message)
    say(f"found the run '{run.name}' dead: {message}")
    if resume:
        _resume(client, run)
    return True


def _end_tasks(client: SyncPrefectClient, run: UUID) -> None:
    """The stage that was at work died with its run."""
    at_work = client.read_task_runs(
        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])),
        task_run_filter=TaskRunFilter(
            state=TaskRunFilterState(type=TaskRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING]))
        ),
    )
    for task in at_work:
        client.set_task_run_state(task.id, Crashed(message="the run's process is gone"), force=True)


def _resume(client: SyncPrefectClient, run: FlowRun) -> None:
    """Start the deployment again with the run's parameters: once for each crash, and not for ever."""
    if run.deployment_id is None:
        return  # it was typed by hand: whoever typed it types it again
    before = max((int(tag.partition(":")[2]) for tag in run.tags if tag.startswith(f"{RESUMES}:")), default=0)
    if before >= MOST_RESUMES:
        tell(f"{run.name} is not resumed again", f"it and its resumes died {before + 1} times in a row")
        say(f"'{run.name}' is not resumed: it died {before + 1} times in a row")
        return
    tags = [tag for tag in run.tags if not tag.startswith(f"{RESUMES}:")]
    new = client.create_flow_run_from_deployment(
        run.deployment_id,
        parameters=run.parameters,
        tags=[*tags, f"{RESUMES}:{before + 1}"],
        idempotency_key=f"resume-{run.id}",
    )
    say(f"resumed it as '{new.name}'")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.crashes", description="Find and resume runs that died.")
    parser.add_argument("--root", type=Path, default=Path(), help="the folder that holds dvc.yaml (default: this one)")
    parser.add_argument("--no-resume", action="store_true", help="only end them, start none again")
    chosen = parser.parse_args(arguments)
    workspace = Workspace(chosen.root.resolve())
    code = exit_code(lambda: bury_dead_runs(workspace, resume=not chosen.no_resume))
    end_quickly()
    return code


if __name__ == "__main__":
    sys.exit(main())
