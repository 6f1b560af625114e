"""The training flow: ``python -m flows.pipeline`` runs dvc.yaml with one Prefect task per stage.

The order of the stages, and what is out of date, are DVC's business (flows.graph); here they become visible, are
tried again where that can help, and end in one message. It needs no server; with ``PREFECT_API_URL`` it uses one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.startup import end_quickly, end_with_worker, start

start()

import httpx  # noqa: E402
from prefect import State, flow  # noqa: E402
from prefect.exceptions import FailedRun  # noqa: E402
from prefect.runtime import flow_run  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402

from flows.crashes import bury_dead_runs  # noqa: E402
from flows.events import TRAINED, emit  # noqa: E402
from flows.graph import Step, reproduce  # noqa: E402
from flows.notify import tell_of_end  # noqa: E402
from flows.outcome import Outcome, StageRun  # noqa: E402
from flows.overrides import write_overrides  # noqa: E402
from flows.result import headline, summary  # noqa: E402
from flows.server import address, some_server  # noqa: E402
from flows.show import Page  # noqa: E402
from flows.stage_task import Patience, run_as_task, trace  # noqa: E402
from flows.terminal import end_on_sigterm, keep_prefect_quiet, say, speak_alone  # noqa: E402
from flows.turn import SKIPPED, BusyError, WhenBusy, recorded, records, turn  # noqa: E402
from graft.core.config import load_params  # noqa: E402
from graft.core.errors import GraftError, exit_code  # noqa: E402
from graft.core.workspace import Workspace  # noqa: E402
from graft.pipeline.locate import refuse_missing  # noqa: E402

PACKAGE = "package"  # the stage whose work is a new model


@flow(
    name="graft-pipeline",
    flow_run_name="train: {cause}",
    on_failure=[tell_of_end],
    on_crashed=[tell_of_end],
    on_completion=[tell_of_end],
)
def pipeline(
    root: str = ".",
    targets: tuple[str, ...] = (),
    force: bool = False,
    retries: int = 0,
    timeouts: dict[str, float] | None = None,
    params: dict[str, Any] | None = None,
    when_busy: WhenBusy = "wait",
    cause: str = "by hand",
) -> State[Any]:
    """Bring the project in ``root`` up to date.

    Args:
        root: the folder that holds dvc.yaml.
        targets: stages to bring up to date with all that they need; none: all stages.
        force: run stages although nothing changed.
        retries: how often a stage that touches the network is tried again.
        timeouts: seconds that a stage may take, by its name; then all its processes are ended.
        params: values for keys of params.yaml, such as ``data.source`` (see flows.overrides); none at all takes back
            those of the run before, None leaves the file as it is.
        when_busy: what to do where another run is at work in this project: wait for it, or leave.
        cause: why it runs, for its name.
    """
    speak_alone()
    workspace = Workspace(Path(root).resolve())
    run = str(flow_run.id)
    with recorded(workspace, run, address()) as note:
        end_with_worker()
        try:
            with turn(workspace, run, when_busy, say):
                bury_dead_runs(workspace)
                if params is not None:
                    write_overrides(workspace, params, say)
                state = _train(workspace, targets, force, Patience(retries, timeouts or {}))
        except BusyError as error:
            state = Completed(name=SKIPPED, message=error.message())  # nothing failed; a cancelled one would be traced
        except GraftError as error:
            trace()
            state = Failed(message=error.message())
        note(state.type.value, state.message or "")
    return state


def _train(workspace: Workspace, targets: Sequence[str], force: bool, patience: Patience) -> State[Any]:
    if workspace.params.exists():
        refuse_missing(load_params(workspace.params), workspace.root)
    page = Page(workspace, say)

    def around(step: Step) -> StageRun:
        with page.findings_of_failure(step.name):
            run = run_as_task(step, patience)
        page.publish(run)
        return run

    runs = reproduce(workspace.root, around, targets=targets, force=force, named=patience.timeouts, say=say)
    if any(run.name == PACKAGE and run.outcome is not Outcome.UNCHANGED for run in runs):
        emit(TRAINED, workspace, **headline(workspace))
    worked = sum(run.outcome is not Outcome.UNCHANGED for run in runs)
    return Completed(message=f"{worked} of {len(runs)} stages had something to do")


def run_flow(root: Path, targets: Sequence[str] = (), **options: Any) -> None:
    """Run the flow and print what it has come to.

    Args:
        root: the folder that holds dvc.yaml.
        targets: stages to bring up to date; none: all.
        options: the flow's further parameters.

    Raises:
        GraftError: a stage failed, or there is nothing to run.
    """
    workspace = Workspace(root.resolve())
    with some_server():
        try:
            state = pipeline(str(root), tuple(targets), **options, return_state=True)
        except httpx.TransportError as error:
            state = _end_without_server(workspace, error)
    if not state.is_completed() or state.name == SKIPPED:
        with contextlib.suppress(FailedRun):
            state.result()  # raises again what was not foreseen
        raise GraftError(state.message or f"the flow ended as {state.name}")
    if not targets:
        say("\n" + summary(workspace))


def _end_without_server(workspace: Workspace, error: httpx.TransportError) -> State[Any]:
    """How the run ended by its own record, where the server went away before it could be told."""
    mine = [record for record in records(workspace) if record.pid == os.getpid() and record.state]
    if not mine:
        raise GraftError(
            f"the Prefect server stopped answering before the run began: {error}",
            where=address(),
            remedy="run again: without that server, the run uses a temporary one",
        ) from None
    say(f"the Prefect server at {address()} went away: the next run here tells it how this one ended")
    message = mine[-1].message
    return Completed(message=message) if mine[-1].state == "COMPLETED" else Failed(message=message)


def _timeouts(given: Sequence[str]) -> dict[str, float]:
    """``["finetune=3600"]`` -> ``{"finetune": 3600.0}``."""
    found = {}
    for text in given:
        stage, _, seconds = text.partition("=")
        try:
            found[stage] = float(seconds)
        except ValueError:
            raise GraftError(
                f"{text!r} is no time limit", where="--timeout", remedy="write it as STAGE=SECONDS"
            ) from None
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.pipeline", description="Run dvc.yaml as a Prefect flow.")
    parser.add_argument("targets", nargs="*", metavar="STAGE", help="stages to bring up to date; none: all")
    parser.add_argument("--force", action="store_true", help="run stages although nothing changed")
    parser.add_argument("--retries", type=int, default=0, help="further tries of stages that touch the network")
    parser.add_argument(
        "--timeout", action="append", default=[], metavar="STAGE=SECONDS", help="end a stage that takes longer"
    )
    parser.add_argument("--when-busy", choices=["wait", "leave"], default="wait", help="where another run is at work")
    parser.add_argument("--root", type=Path, default=Path(), help="the folder that holds dvc.yaml (default: this one)")
    chosen = parser.parse_args(arguments)
    end_on_sigterm()
    if os.environ.get("GRAFT_DEBUG") != "1":
        keep_prefect_quiet()
    code = exit_code(lambda: _run(chosen))
    end_quickly()
    return code


def _run(chosen: argparse.Namespace) -> None:
    options: Mapping[str, Any] = {
        "force": chosen.force,
        "retries": chosen.retries,
        "timeouts": _timeouts(chosen.timeout),
        "when_busy": chosen.when_busy,
    }
    run_flow(chosen.root, chosen.targets, **options)


if __name__ == "__main__":
    sys.exit(main())
