"""Schedules that went on while no worker was there, on a real (temporary) server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate

from flows import missed
from flows.missed import drop_missed

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(600)]


def deployed(client: SyncPrefectClient, name: str, pool: str) -> str:
    """A deployment that is due every hour, so that nothing falls due while a test looks; returns its id."""
    flow = str(client.create_flow_from_name("graft-watch"))
    every_hour = {"schedule": {"interval": 3600}, "active": True}
    body = {"flow_id": flow, "name": name, "work_pool_name": pool, "schedules": [every_hour]}
    return str(client.request("POST", "/deployments/", json=body).json()["id"])


def runs_of(client: SyncPrefectClient, deployment: str) -> list[dict[str, Any]]:
    body = {"deployments": {"id": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_ASC"}
    found: list[dict[str, Any]] = client.request("POST", "/flow_runs/filter", json=body).json()
    return found


def test_each_schedule_is_caught_up_with_once(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(missed, "PAGE", 3)
    long_ago = datetime.now(UTC) - timedelta(days=1)
    with get_client(sync_client=True) as client:
        for pool in ("away", "another"):
            client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        here, elsewhere = deployed(client, "watch", "away"), deployed(client, "watch-elsewhere", "another")
        for deployment in (here, elsewhere):
            until = long_ago + timedelta(hours=7)
            window = {"start_time": long_ago.isoformat(), "end_time": until.isoformat(), "min_runs": 7}
            client.request("POST", "/deployments/{id}/schedule", path_params={"id": deployment}, json=window)
        mine = client.create_flow_run_from_deployment(here)  # by hand
        planned = [run for run in runs_of(client, here) if run["auto_scheduled"]]
        overdue = [run for run in planned if run["expected_start_time"] < datetime.now(UTC).isoformat()]
        assert len(overdue) >= 5
        assert drop_missed("away") == len(overdue) - 1
        assert drop_missed("away") == 0, "once is enough"
        dropped = {run["id"] for run in runs_of(client, here) if run["state_name"] == "Missed"}
        assert dropped == {run["id"] for run in overdue[:-1]}, "the newest is left to do"
        left = [run for run in runs_of(client, here) if run["id"] not in dropped]
        assert str(mine.id) in {run["id"] for run in left}, "what somebody started stays"
        assert {run["state_type"] for run in left + runs_of(client, elsewhere)} == {"SCHEDULED"}, "so does all else"
    assert f"{len(overdue) - 1} runs fell due while no worker was there" in capfd.readouterr().out
