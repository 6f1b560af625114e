"""Runs that fell due while no worker was there: each schedule is caught up with once, not as often as it was missed.

Prefect keeps them all, and a worker begins all that are late at once: after a weekend, hundreds of processes.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flows.startup import start

start()

from prefect import State, get_client  # noqa: E402
from prefect.client.orchestration import SyncPrefectClient  # noqa: E402
from prefect.client.schemas.filters import (  # noqa: E402
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType  # noqa: E402
from prefect.client.schemas.sorting import FlowRunSort  # noqa: E402
from prefect.states import Cancelled  # noqa: E402

from flows.terminal import say  # noqa: E402

MISSED = "Missed"
# As many as a server gives at once.
PAGE = 200


def drop_missed(pool: str) -> int:
    """Cancel what is overdue by a schedule, but for each deployment's newest; what somebody started stays.

    Args:
        pool: the work pool whose runs are meant.

    Returns:
        How many were cancelled.
    """
    caught_up, dropped = set(), 0
    with get_client(sync_client=True) as client:
        for run in _overdue(client, pool):
            if run.deployment_id in caught_up:
                state: State[Any] = Cancelled(name=MISSED, message="no worker was there; a later run does its work")
                client.set_flow_run_state(run.id, state, force=True)
                dropped += 1
            caught_up.add(run.deployment_id)
    if dropped:
        say(f"{dropped} runs fell due while no worker was there: each schedule is caught up with once")
    return dropped


def _overdue(client: SyncPrefectClient, pool: str) -> list[FlowRun]:
    """What schedules would have had begun by now, newest first."""
    found: list[FlowRun] = []
    due = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime.model_validate({"before_": datetime.now(UTC)}),
    )
    while page := client.read_flow_runs(
        flow_run_filter=due,
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=PAGE,
        offset=len(found),
    ):
        found.extend(page)
    return [run for run in found if run.auto_scheduled]
