"""The training flow: ``python -m flows.pipeline`` runs dvc.yaml with one Prefect task per stage.

The order of the stages, and what is out of date, are DVC's business (flows.graph). It needs no server; with
``PREFECT_API_URL`` it uses one.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import State, flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.artifacts import ArtifactPublisher
from flows.cli import run_as_command, run_flow
from flows.graph import changed_stages, run_stage, stages_in_order
from flows.project import ENDING, TRAINED, emit, project_lock
from flows.result import headline, summary
from graft.core.config import load_params, set_keys
from graft.core.errors import GraftError
from graft.core.settings.presets import NAMES
from graft.core.workspace import Workspace
from graft.pipeline.locate import refuse_missing

PACKAGE = "package"  # the stage whose work is a new model
# Stages that may fetch something over a network. A second try of any other would fail in the same way.
TOUCH_NETWORK = frozenset({"locate", "ingest", "gather", "select"})
RETRY_DELAYS = [2.0, 10.0, 60.0]


@flow(name="graft-pipeline", flow_run_name="train: {cause}")
def pipeline(
    root: str = ".",
    targets: tuple[str, ...] = (),
    force: bool = False,
    retries: int = 0,
    timeouts: dict[str, float] | None = None,
    cause: str = "by hand",
) -> State[Any]:
    """Bring the project in ``root`` up to date.

    Args:
        root: the folder that holds dvc.yaml.
        targets: stages to bring up to date with all that they need; none: all stages.
        force: run stages although nothing changed.
        retries: how often a stage that touches the network is tried again, after 2, 10, 60, 60, ... s.
        timeouts: seconds that a stage may take, by its name; then it is ended with all its processes.
        cause: why it runs, for its name.
    """
    workspace = Workspace(Path(root).resolve())

    def say(line: str) -> None:
        get_run_logger().info(line, extra={"stage": "flow"})

    try:
        _refuse_limits(retries, timeouts or {})
        with project_lock(workspace, on_wait=say):
            return _train(workspace, targets, force, retries, timeouts or {})
    except GraftError as error:
        return failed(error)
    finally:
        _emit_end()


def _train(
    workspace: Workspace, targets: Sequence[str], force: bool, retries: int, timeouts: Mapping[str, float]
) -> State[Any]:
    if workspace.params.exists():
        refuse_missing(load_params(workspace.params), workspace.root)
    stages = stages_in_order(workspace.root, targets, named=timeouts)
    names = [stage.name for stage in stages]
    due = set(names) if force else changed_stages(workspace.root, names)
    publisher = ArtifactPublisher(workspace)
    ran = []
    for stage in stages:
        run = stage_task.with_options(
            name=stage.name,
            retries=retries if stage.name in TOUCH_NETWORK else 0,
            retry_delay_seconds=[*RETRY_DELAYS, *[RETRY_DELAYS[-1]] * retries][:retries] or 0,
            timeout_seconds=timeouts.get(stage.name),
        )
        began = time.time()
        options = None if stage.name not in due else ("--force",) if force else ()
        state = run(str(workspace.root), stage.name, options, return_state=True)
        if not state.is_completed():
            publisher.publish_findings(since=began)
            return Failed(message=_message(stage.name, state, timeouts))
        publisher.publish(stage.outs)
        if stage.name in due:
            ran.append(stage.name)
            due = due if force else changed_stages(workspace.root, names)
    if PACKAGE in ran:
        emit(TRAINED, workspace, **headline(workspace))
    return Completed(message=f"{len(ran)} of {len(stages)} stages had something to do")


@task(task_run_name="{stage}", cache_policy=NO_CACHE)
def stage_task(root: str, stage: str, options: tuple[str, ...] | None) -> State[Any]:
    """Run one stage of dvc.yaml, its output in the task's logs. A failure is returned: raised, it is logged twice.

    Args:
        root: the project's folder.
        stage: the stage's name.
        options: of ``dvc repro``; None: the stage is up to date.
    """
    log = get_run_logger()

    def show(line: str) -> None:
        log.info(line, extra={"stage": stage})

    if options is None:
        show("unchanged")
        return Completed(name="Unchanged", message="unchanged")
    try:
        run_stage(Path(root), stage, show, *options)
    except GraftError as error:
        return failed(error)
    show("done")
    return Completed(message="done")


def _emit_end() -> None:
    """Tell Prefect's automation on heartbeats that this run ends.

    The first heartbeat of a short run may reach the server after the run's end, and the run would be taken for silent.
    What this process emits arrives in order, so that this event comes after every heartbeat.
    """
    run = flow_run.id
    if run is not None:
        emit_event(ENDING, resource={"prefect.resource.id": f"prefect.flow-run.{run}"})


def failed(error: GraftError) -> State[Any]:
    """The state that says what was wrong; with GRAFT_DEBUG=1 the traceback is printed."""
    if os.environ.get("GRAFT_DEBUG") == "1":
        traceback.print_exc()
    return Failed(message=error.message())


def _message(stage: str, state: State[Any], timeouts: Mapping[str, float]) -> str:
    if state.name != "TimedOut":
        return state.message or f"stage '{stage}' ended as {state.name}"
    return GraftError(
        f"stage '{stage}' failed: it took longer than {timeouts[stage]:g} s, so it was ended with all its processes",
        remedy=f"give it more time in the flow's parameter `timeouts`, such as {{{stage}: {2 * timeouts[stage]:g}}}",
    ).message()


def _refuse_limits(retries: int, timeouts: Mapping[str, float]) -> None:
    if retries < 0:
        raise GraftError(f"a stage cannot be tried {retries} times again", remedy="give 0 retries or more")
    for stage, seconds in timeouts.items():
        if not seconds > 0:
            raise GraftError(f"the time limit of '{stage}' is {seconds:g} s", remedy="give it more than 0 s")


def _timeouts(given: Sequence[str]) -> dict[str, float]:
    """``["finetune=3600"]`` -> ``{"finetune": 3600.0}``."""
    try:
        return {stage: float(seconds) for stage, _, seconds in (text.partition("=") for text in given)}
    except ValueError:
        raise GraftError(
            f"{', '.join(given)} is no time limit", where="--timeout", remedy="write it as STAGE=SECONDS"
        ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.pipeline", description="Run dvc.yaml as a Prefect flow.")
    parser.add_argument("targets", nargs="*", metavar="STAGE", help="stages to bring up to date; none: all")
    parser.add_argument("--force", action="store_true", help="run stages although nothing changed")
    parser.add_argument("--retries", type=int, default=0, help="further tries of stages that touch the network")
    parser.add_argument(
        "--timeout", action="append", default=[], metavar="STAGE=SECONDS", help="end a stage that takes longer"
    )
    parser.add_argument("--root", type=Path, default=Path(), help="the folder that holds dvc.yaml (default: this one)")
    parser.add_argument("--preset", choices=NAMES, help="write `preset` into params.yaml first; see `graft presets`")
    parser.add_argument("--time-limit", type=float, metavar="MINUTES", help="write `time_limit` into params.yaml first")
    chosen = parser.parse_args(arguments)

    def work() -> None:
        asked = {"preset": chosen.preset, "time_limit": chosen.time_limit}
        if wanted := {key: value for key, value in asked.items() if value is not None}:
            set_keys(Workspace(chosen.root).params, wanted)
        limits = _timeouts(chosen.timeout)
        run_flow(
            lambda: pipeline(
                str(chosen.root), tuple(chosen.targets), chosen.force, chosen.retries, limits, return_state=True
            )
        )
        if not chosen.targets:
            print("\n" + summary(Workspace(chosen.root.resolve())))

    return run_as_command(work)


if __name__ == "__main__":
    sys.exit(main())
