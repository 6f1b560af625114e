"""prefect.yaml against the flows it names, and what deploying makes on a real (temporary) server."""

from __future__ import annotations

import inspect
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.flows import load_flow_from_entrypoint
from prefect.server.events.schemas.automations import EventTrigger as ServerTrigger
from prefect.settings import PREFECT_API_URL, temporary_settings
from ruamel.yaml import YAML

from flows import deployments
from flows.deployments import LONG_FLOWS, POOL, SILENCE, deploy, make_pool, silence
from flows.events import DATA_CHANGED, DRIFTED, TRAINED
from graft.errors import GraftError
from tests.flows.toy import Toy

ROOT = Path(__file__).parents[2]
LISTED: list[dict[str, Any]] = YAML(typ="safe", pure=True).load((ROOT / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize("item", LISTED, ids=lambda item: str(item["name"]))
def test_a_deployment_names_a_flow_and_parameters_that_it_has(item: dict[str, Any]) -> None:
    path, _, name = item["entrypoint"].partition(":")
    flow = load_flow_from_entrypoint(f"{ROOT / path}:{name}")
    parameters = dict(item.get("parameters") or {})
    for schedule in item.get("schedules") or []:
        parameters |= schedule.get("parameters") or {}
    assert set(parameters) <= set(inspect.signature(flow.fn).parameters)
    flow.validate_parameters(parameters)
    assert item["work_pool"] == {"name": POOL}


def test_the_chain_of_events_is_closed() -> None:
    waited_for = {event for item in LISTED for trigger in item.get("triggers") or [] for event in trigger["expect"]}
    assert waited_for == {DATA_CHANGED, TRAINED, DRIFTED}


def test_stages_with_a_time_limit_are_in_the_graph() -> None:
    graph = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]
    train = next(item for item in LISTED if item["name"] == "train")
    assert set(train["parameters"]["timeouts"]) <= set(graph)


def test_without_a_server_it_says_how_to_start_one(toy: Toy) -> None:
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}), pytest.raises(GraftError) as caught:
        deploy(toy.root)
    assert caught.value.message() == (
        "no Prefect server answers\n  where: http://127.0.0.1:9/api\n"
        "  remedy: start one with `make server`; if it is elsewhere, set PREFECT_API_URL"
    )


@pytest.mark.usefixtures("prefect_server")
def test_an_unknown_deployment_is_named_with_those_there_are(toy: Toy) -> None:
    with pytest.raises(GraftError, match=r"there is no prefect\.yaml here"):
        deploy(toy.root)
    (toy.root / "prefect.yaml").write_text((ROOT / "prefect.yaml").read_text())
    with pytest.raises(GraftError) as caught:
        deploy(toy.root, ["trian"])
    assert caught.value.what == "there is no deployment 'trian'"
    assert caught.value.remedy == "it has train, watch, monitor, promote, rollback, crashes"


@pytest.mark.usefixtures("prefect_server")
def test_pool_and_automation_are_there_once_however_often_they_are_made() -> None:
    for _ in range(2):
        make_pool()
        deployments._watch_for_silence()
    with get_client(sync_client=True) as client:
        assert [pool.type for pool in client.read_work_pools() if pool.name == POOL] == ["process"]
        assert len(client.read_automations_by_name(SILENCE)) == 1


@pytest.mark.parametrize("state", ["Completed", "Failed", "Crashed", "Unchanged", "Skipped", "Too few answers"])
def test_a_run_that_ended_in_any_state_is_not_silent(state: str) -> None:
    judged = ServerTrigger.model_validate(silence().model_dump())
    assert judged.expects(f"prefect.flow-run.{state}") and not judged.starts_after(f"prefect.flow-run.{state}")
    assert judged.starts_after("prefect.flow-run.heartbeat") and judged.expects("prefect.flow-run.heartbeat")


def test_every_flow_but_the_shortest_is_watched_for_silence() -> None:
    named = {
        name for file in (ROOT / "flows").glob("*.py") for name in re.findall(r'@flow\(name="(.+?)"', file.read_text())
    }
    assert set(LONG_FLOWS) == named - {"graft-crashes"}


@pytest.mark.usefixtures("prefect_server")
def test_the_server_can_write_down_scheduled_runs() -> None:
    """SQLAlchemy 2.1 refuses how Prefect 3.8 does it, though pip finds nothing wrong: no schedule would ever fire."""
    with get_client(sync_client=True) as client:
        flow = client.create_flow_from_name("graft-pipeline")
        schedule = {"schedule": {"interval": 3600}, "active": True}
        body = {"flow_id": str(flow), "name": "scheduled", "schedules": [schedule]}
        made = client.request("POST", "/deployments/", json=body).json()["id"]
        client.request("POST", "/deployments/{id}/schedule", path_params={"id": made}, json={"min_runs": 2})
        planned = client.request("POST", "/flow_runs/count", json={"deployments": {"id": {"any_": [made]}}})
        client.request("DELETE", "/deployments/{id}", path_params={"id": made})
    assert planned.json() >= 2


def test_stages_find_the_projects_python_from_a_copy_below_it(tmp_path: Path) -> None:
    script = ROOT / "src" / "graft" / "python.sh"
    python = tmp_path / "a project" / ".venv" / "bin" / "python"
    copy = tmp_path / "a project" / ".dvc" / "tmp" / "exps" / "one"
    python.parent.mkdir(parents=True)
    copy.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$0" "$@"\n')
    python.chmod(0o755)
    for folder in (copy, tmp_path / "a project"):
        done = subprocess.run(["sh", script, "-m", "x y"], cwd=folder, capture_output=True, text=True, check=True)
        assert done.stdout == f"{python} -m x y\n"
    lost = subprocess.run(["sh", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert lost.returncode == 1
    assert lost.stderr == f"error: there is no .venv here\n  where: {tmp_path}\n  remedy: run `make install`\n"
