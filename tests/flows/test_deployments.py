"""prefect.yaml against the flows it names, and what deploying makes on a real (temporary) server."""

from __future__ import annotations

import inspect
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from prefect import tags
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.flows import load_flow_from_entrypoint
from prefect.server.events.schemas.automations import EventTrigger as ServerTrigger
from prefect.settings import PREFECT_API_URL, temporary_settings
from ruamel.yaml import YAML

from flows.deployments import HEARTBEAT_AUTOMATION, deploy, heartbeat_automation
from flows.pipeline import pipeline
from flows.project import DRIFTED, ENDING, TRAINED, project_id
from graft.core.errors import GraftError
from graft.core.workspace import Workspace
from tests.flows.toy import Toy
from tests.waiting import until

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
    assert item["tags"] == ["{{ $GRAFT_PROJECT_ID }}"], "notifications find the project's runs by it"
    for trigger in item.get("triggers") or []:
        assert "$GRAFT_PROJECT_ID" in str(trigger["match"]) + str(trigger.get("match_related"))
        assert set(trigger["parameters"]) <= set(inspect.signature(flow.fn).parameters)


def test_the_chain_of_events_is_closed() -> None:
    waited_for = {event for item in LISTED for trigger in item.get("triggers") or [] for event in trigger["expect"]}
    assert waited_for == {TRAINED, DRIFTED, "prefect.flow-run.Crashed"}
    watching = next(item for item in LISTED if item["name"].startswith("watch-"))
    assert watching["parameters"]["deployment"] == "graft-pipeline/" + LISTED[0]["name"]


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


def lay(root: Path, **replaced: str) -> Path:
    """A folder that can be deployed from, its prefect.yaml with texts replaced."""
    root.mkdir(parents=True, exist_ok=True)
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
    made = [deploy(root) for root in roots for _ in range(2)]
    ids = [project_id(Workspace(root)) for root in roots]
    names = ["train", "watch", "monitor", "promote", "rollback", "experiment"]
    assert made[::2] == [[f"{name}-{one}" for name in names] for one in ids]
    with get_client(sync_client=True) as client:
        for root, one in zip(roots, ids, strict=True):
            known = client.read_deployment_by_name(f"graft-promote/promote-{one}")
            assert known.work_pool_name == one
            assert known.pull_steps == [{"prefect.deployments.steps.set_working_directory": {"directory": str(root)}}]
            assert known.global_concurrency_limit is not None and known.global_concurrency_limit.limit == 1
            (automation,) = client.read_automations_by_name(f"{one}: a trained model is promoted")
            assert automation.trigger.match.root == {"prefect.resource.id": f"graft.project.{one}"}
        assert len(client.read_automations_by_name(HEARTBEAT_AUTOMATION)) == 1, "however often it is made"


@pytest.mark.usefixtures("prefect_server")
def test_a_name_that_another_folder_could_bear_is_refused(tmp_path: Path) -> None:
    root = lay(tmp_path / "vision", **{'"watch-{{ $GRAFT_PROJECT_ID }}"': "look"})
    with pytest.raises(GraftError) as caught:
        deploy(root)
    assert caught.value.message() == (
        f"the deployment 'look' of another folder could bear the same name\n  where: {root / 'prefect.yaml'}\n"
        '  remedy: name it "look-{{ $GRAFT_PROJECT_ID }}"'
    )


class Receiver(BaseHTTPRequestHandler):
    """Keeps what it is sent."""

    got: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.got.append(self.rfile.read(int(self.headers["content-length"])).decode())
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.timeout(900)
def test_a_failure_is_told_through_a_notification_block_once_a_day(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(toy.root)
    monkeypatch.setenv("GRAFT_NOTIFY", "custom-webhook/nobody")
    with pytest.raises(GraftError, match="there is no notification block 'custom-webhook/nobody'"):
        deploy(toy.root)
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        block = CustomWebhookNotificationBlock(
            name="team",
            url=f"http://127.0.0.1:{server.server_port}/",
            json_data={"subject": "{{subject}}", "body": "{{body}}"},
        )
        block.save("team", overwrite=True)
        monkeypatch.setenv("GRAFT_NOTIFY", "custom-webhook/team")
        deploy(toy.root)
        toy.say("bad")
        with tags(project_id(Workspace(toy.root))):  # as its deployments have
            for _ in range(2):
                assert pipeline(str(toy.root), return_state=True).is_failed()
        until(lambda: Receiver.got, 120)
        server.shutdown()
    (message,) = Receiver.got
    assert "train: by hand: prefect.flow-run.Failed" in message
    assert "the file holds a bad word" in message and "remedy: take a better word" in message


@pytest.mark.parametrize("end", ["Completed", "Failed", "Crashed", "Cancelled", "Unchanged"])
def test_a_run_that_ended_in_any_state_is_not_silent(end: str) -> None:
    trigger = ServerTrigger.model_validate(heartbeat_automation().trigger.model_dump())
    for event in (f"prefect.flow-run.{end}", ENDING):
        assert trigger.expects(event) and not trigger.starts_after(event)
    assert trigger.starts_after("prefect.flow-run.heartbeat") and trigger.expects("prefect.flow-run.heartbeat")


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
