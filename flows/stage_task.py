"""One stage as a Prefect task of its name: its output in Prefect's logs, further tries, a time limit, its outcome."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.startup import start

start()

from prefect import State, get_run_logger, task  # noqa: E402
from prefect.cache_policies import NO_CACHE  # noqa: E402
from prefect.states import Completed, Failed  # noqa: E402

from flows.graph import Step  # noqa: E402
from flows.outcome import Outcome, StageRun  # noqa: E402
from flows.terminal import say  # noqa: E402
from graft.core.errors import GraftError  # noqa: E402

# Stages that may fetch something over a network. A second try of any other would fail in the same way.
TOUCH_NETWORK = frozenset({"locate", "ingest", "gather", "select"})
RETRY_DELAYS = [2.0, 10.0, 60.0]

IN_WORDS = {
    Outcome.RAN: "done",
    Outcome.RESTORED: "taken from the run cache",
    Outcome.UNCHANGED: "unchanged",
}


@dataclass(frozen=True)
class Patience:
    """How a flow treats its stages.

    Attributes:
        retries: how often a stage that touches the network is tried again, after 2, 10, 60, 60, ... s.
        timeouts: seconds that a stage's command may take, by the stage's name; those not named take as long as they
            like.
    """

    retries: int = 0
    timeouts: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse tries and limits that no stage can keep. Raises GraftError."""
        if self.retries < 0:
            raise GraftError(f"a stage cannot be tried {self.retries} times again", remedy="give 0 retries or more")
        for stage, seconds in self.timeouts.items():
            if not seconds > 0:
                raise GraftError(f"the time limit of '{stage}' is {seconds:g} s", remedy="give it more than 0 s")

    def tries_again(self, stage: str) -> int:
        """Further tries of a stage."""
        return self.retries if stage in TOUCH_NETWORK else 0


def run_as_task(step: Step, patience: Patience = Patience()) -> StageRun:  # it is frozen
    """Run a stage as a Prefect task of its name; raises what the stage raised, after Prefect has noted it."""
    finished: list[StageRun | GraftError] = []
    retries = patience.tries_again(step.name)

    # A failure is returned, not raised: Prefect would log a raised one with its traceback.
    @task(
        name=step.name,
        task_run_name=step.name,
        cache_policy=NO_CACHE,
        retries=retries,
        retry_delay_seconds=[*RETRY_DELAYS, *([RETRY_DELAYS[-1]] * retries)][:retries] or 0,
    )
    def stage() -> State[Any]:
        log = get_run_logger()

        def show(line: str) -> None:
            say(f"[{step.name}] {line}")
            log.info(line)

        try:
            run = step.run(show, patience.timeouts.get(step.name))
        except GraftError as error:
            finished.append(error)
            trace()
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


def trace() -> None:
    """Show the traceback of the error at hand where that was asked for."""
    if os.environ.get("GRAFT_DEBUG") == "1":
        traceback.print_exc()
