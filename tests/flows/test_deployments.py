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
from flows.deployments import LONG_FLOWS, SILENCE, deploy, make_pool, pool_of, silence
from flows.events import DATA_CHANGED, DRIFTED, TRAINED
from flows.project import project_id
from graft.core.errors import GraftError
from graft.core.workspace import Workspace
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
    # Names carry the project: a server may know several.
    assert item["name"].endswith("-{{ $GRAFT_PROJECT_ID }}")
    assert item["work_pool"] == {"name": "{{ $GRAFT_PROJECT_ID }}"}
    for trigger in item.get("triggers") or []:
        assert trigger["match"] == {"prefect.resource.id": "graft.project.{{ $GRAFT_PROJECT_ID }}"}
        assert set(trigger["parameters"]) <= set(inspect.signature(flow.fn).parameters)


def test_the_chain_of_events_is_closed() -> None:
    waited_for = {event for item in LISTED for trigger in item.get("triggers") or [] for event in trigger["expect"]}
    assert waited_for == {DATA_CHANGED, TRAINED, DRIFTED}


def test_stages_with_a_time_limit_are_in_the_graph() -> None:
    graph = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]
    train = next(item for item in LISTED if item["name"].startswith("train-"))
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
        make_pool("vision-1a2b3c4d")
        deployments._watch_for_silence()
    with get_client(sync_client=True) as client:
        assert [pool.type for pool in client.read_work_pools() if pool.name == "vision-1a2b3c4d"] == ["process"]
        assert len(client.read_automations_by_name(SILENCE)) == 1


def lay(root: Path, **replaced: str) -> Path:
    """A folder that can be deployed from, its prefect.yaml with texts replaced."""
    root.mkdir(parents=True)
    (root / "flows").symlink_to(ROOT / "flows")
    text = (ROOT / "prefect.yaml").read_text()
    for old, new in replaced.items():
        text = text.replace(old, new)
    (root / "prefect.yaml").write_text(text)
    return root


def test_projects_of_one_name_are_told_apart(tmp_path: Path) -> None:
    one, other = (project_id(Workspace(tmp_path / place / "My Vision (2)")) for place in ("a", "b"))
    assert re.fullmatch(r"my-vision-2-[0-9a-f]{8}", one) and re.fullmatch(r"my-vision-2-[0-9a-f]{8}", other)
    assert one != other
    assert project_id(Workspace(tmp_path / "b" / ".." / "a" / "My Vision (2)")) == one


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.timeout(900)
def test_two_folders_on_one_server_leave_one_another_alone(tmp_path: Path) -> None:
    roots = [lay(tmp_path / place / "vision") for place in ("a", "b")]
    made = [deploy(root, ["watch", "promote"]) for root in roots]
    ids = [project_id(Workspace(root)) for root in roots]
    assert made == [[f"watch-{one}", f"promote-{one}"] for one in ids]
    assert [pool_of(root) for root in roots] == ids
    with get_client(sync_client=True) as client:
        for root, one in zip(roots, ids, strict=True):
            known = client.read_deployment_by_name(f"graft-promote/promote-{one}")
            assert known.work_pool_name == one
            assert known.pull_steps == [{"prefect.deployments.steps.set_working_directory": {"directory": str(root)}}]
            (automation,) = client.read_automations_by_name(f"{one}: a trained model is promoted")
            assert automation.trigger.match.root == {"prefect.resource.id": f"graft.project.{one}"}


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.timeout(900)
def test_a_pool_of_the_users_is_made_and_a_deployment_of_another_folder_never_taken_over(tmp_path: Path) -> None:
    own = {'"watch-{{ $GRAFT_PROJECT_ID }}"': "look", '"{{ $GRAFT_PROJECT_ID }}"\n\n': "gpu\n\n"}
    first, second = (lay(tmp_path / place / "vision", **own) for place in ("c", "d"))
    assert pool_of(first) == "gpu"
    assert deploy(first, ["look"]) == ["look"]
    with pytest.raises(GraftError) as caught:
        deploy(second, ["look"])
    with get_client(sync_client=True) as client:
        known = client.read_deployment_by_name("graft-watch/look")
    assert known.work_pool_name == "gpu"
    assert caught.value.message() == (
        f"the deployment 'look' is that of another folder: {first}\n  where: {second / 'prefect.yaml'}\n"
        "  remedy: give it a name of its own there, such as look-{{ $GRAFT_PROJECT_ID }}; if that folder is gone, "
        f"`.venv/bin/prefect deployment delete {known.id}` first"
    )
    assert deploy(first, ["look"]) == ["look"], "its own folder may"


def test_several_pools_need_to_be_chosen_from(tmp_path: Path) -> None:
    root = lay(
        tmp_path / "vision",
        **{'work_pool: *pool\n\n  - name: "monitor': 'work_pool: {name: gpu}\n\n  - name: "monitor'},
    )
    with pytest.raises(GraftError) as caught:
        pool_of(root)
    assert caught.value.message() == (
        f"prefect.yaml names several work pools: gpu, {project_id(Workspace(root))}\n  where: {root / 'prefect.yaml'}\n"
        "  remedy: a worker takes from one: say which by --pool, and begin a worker for each"
    )


@pytest.mark.parametrize("state", ["Completed", "Failed", "Crashed", "Unchanged", "Skipped", "Too few answers"])
def test_a_run_that_ended_in_any_state_is_not_silent(state: str) -> None:
    judged = ServerTrigger.model_validate(silence().model_dump())
    assert judged.expects(f"prefect.flow-run.{state}") and not judged.starts_after(f"prefect.flow-run.{state}")
    assert judged.starts_after("prefect.flow-run.heartbeat") and judged.expects("prefect.flow-run.heartbeat")


def test_every_flow_but_the_shortest_is_watched_for_silence() -> None:
    named = {
        name
        for file in (ROOT / "flows").glob("*.py")
        for name in re.findall(r'@flow\(\s*name="(.+?)"', file.read_text())
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
