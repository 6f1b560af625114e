"""The training flow: ``python -m flows.pipeline`` runs dvc.yaml with one Prefect task per stage.

The order of the stages, and what is out of date, are DVC's business (flows.graph); here they become visible, are
tried again where that can help, and end in one message. It needs no server; with ``PREFECT_API_URL`` it uses one.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graft.telemetry import switch_off

switch_off()  # before Prefect is imported, which reads its settings then

import httpx  # noqa: E402
from prefect import State, flow, get_run_logger, task  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.exceptions import FailedRun  # noqa: E402
from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, temporary_settings  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402

from flows.graph import Step, reproduce  # noqa: E402
from flows.outcome import Outcome, StageRun  # noqa: E402
from flows.result import summary  # noqa: E402
from flows.show import findings_of_failure, publish  # noqa: E402
from graft.errors import GraftError, exit_code  # noqa: E402
from graft.workspace import Workspace  # noqa: E402

# Stages that may fetch something over a network. A second try of any other would fail in the same way.
TOUCH_NETWORK = frozenset({"ingest", "select"})
RETRY_DELAYS = [2.0, 10.0, 60.0]

IN_WORDS = {
    Outcome.RAN: "done",
    Outcome.RESTORED: "taken from the run cache",
    Outcome.UNCHANGED: "unchanged",
}


def say(line: str) -> None:
    """A line for whoever watches the terminal."""
    print(line, flush=True)


@flow(name="graft-pipeline")
def pipeline(
    root: str = ".",
    targets: tuple[str, ...] = (),
    force: bool = False,
    retries: int = 0,
) -> State[Any]:
    """Bring the project in ``root`` up to date.

    Args:
        root: the folder that holds dvc.yaml.
        targets: stages to bring up to date with all that they need; none: all stages.
        force: run stages although nothing changed.
        retries: how often a stage that touches the network is tried again.
    """
    workspace = Workspace(Path(root).resolve())

    def around(step: Step) -> StageRun:
        with findings_of_failure(step.name, workspace):
            run = run_as_task(step, retries if step.name in TOUCH_NETWORK else 0)
        publish(run, workspace)
        return run

    try:
        runs = reproduce(workspace.root, around, targets=targets, force=force, say=say)
    except GraftError as error:
        _trace()
        return Failed(message=error.message())
    worked = sum(run.outcome is not Outcome.UNCHANGED for run in runs)
    return Completed(message=f"{worked} of {len(runs)} stages had something to do")


def run_as_task(step: Step, retries: int = 0) -> StageRun:
    """Run a stage as a Prefect task of its name; raises what the stage raised, after Prefect has noted it."""
    finished: list[StageRun | GraftError] = []

    # A failure is returned, not raised: Prefect would log a raised one with its traceback.
    @task(
        name=step.name,
        task_run_name=step.name,
        cache_policy=NO_CACHE,
        retries=retries,
        retry_delay_seconds=RETRY_DELAYS[:retries] or 0,
    )
    def stage() -> State[Any]:
        log = get_run_logger()

        def show(line: str) -> None:
            say(f"[{step.name}] {line}")
            log.info(line)

        try:
            run = step.run(show)
        except GraftError as error:
            finished.append(error)
            _trace()
            return Failed(message=error.message())
        finished.append(run)
        words = IN_WORDS[run.outcome]
        say(f"[{step.name}] {words}" + ("" if run.outcome is Outcome.UNCHANGED else f" in {run.seconds:.1f} s"))
        return Completed(name="Unchanged" if run.outcome is Outcome.UNCHANGED else None, message=words)

    state = stage(return_state=True)
    if not finished:  # Prefect itself stopped the task before the stage had its turn
        raise GraftError(f"Prefect did not run the stage '{step.name}'", where=state.message)
    if isinstance(finished[-1], GraftError):
        raise finished[-1]
    return finished[-1]


def run_flow(root: Path, targets: Sequence[str] = (), *, force: bool = False, retries: int = 0) -> None:
    """Run the flow and print what it has come to.

    Raises:
        GraftError: a stage failed, or there is nothing to run.
    """
    with _some_server():
        state = pipeline(str(root), tuple(targets), force, retries, return_state=True)
    if not state.is_completed():
        with contextlib.suppress(FailedRun):
            state.result()  # raises again what was not foreseen
        raise GraftError(state.message or f"the flow ended as {state.name}")
    if not targets:
        say("\n" + summary(Workspace(root.resolve())))


@contextlib.contextmanager
def _some_server() -> Any:
    """Use the configured server if it answers, and a temporary one of this process if not."""
    address = PREFECT_API_URL.value()
    if not address:
        say("no Prefect server is configured: this run uses a temporary one (the very first takes some 15 s to set up)")
        yield
        return
    if _answers(address):
        yield
        return
    say(f"no Prefect server answers at {address}: this run goes on with a temporary one")
    with temporary_settings({PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: True}, restore_defaults={PREFECT_API_URL}):
        yield


def _answers(address: str) -> bool:
    """Whether anything at all answers there.

    Prefect's own client is not asked: it would start the thread that sends logs, with the address that is to be left.
    """
    try:
        httpx.get(f"{address}/health", timeout=5.0, verify=False)  # no secret is sent, so no certificate is needed
    except httpx.TransportError:
        return False
    return True


def _trace() -> None:
    if os.environ.get("GRAFT_DEBUG") == "1":
        traceback.print_exc()


def _keep_prefect_quiet() -> None:
    """On the terminal this module speaks; Prefect's own account of the run goes to its server only."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    logging.getLogger("prefect").setLevel(logging.ERROR)


def _end_on_sigterm(number: int, frame: object) -> None:
    # An exception, so that the stage's process group is ended on the way out.
    sys.exit(128 + number)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.pipeline", description="Run dvc.yaml as a Prefect flow.")
    parser.add_argument("targets", nargs="*", metavar="STAGE", help="stages to bring up to date; none: all")
    parser.add_argument("--force", action="store_true", help="run stages although nothing changed")
    parser.add_argument("--retries", type=int, default=0, help="further tries of stages that touch the network")
    parser.add_argument("--root", type=Path, default=Path(), help="the folder that holds dvc.yaml (default: this one)")
    chosen = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _end_on_sigterm)
    if os.environ.get("GRAFT_DEBUG") != "1":
        _keep_prefect_quiet()
    return exit_code(lambda: run_flow(chosen.root, chosen.targets, force=chosen.force, retries=chosen.retries))


if __name__ == "__main__":
    sys.exit(main())
