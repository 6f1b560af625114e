"""Creates work pool, deployments and automations on the Prefect server: ``python -m flows.deployments``.

prefect.yaml has the deployments, schedules, limits and triggers. Added here is what it cannot say: the work pool, and
the automations that are no deployment's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from prefect import get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL

from flows.cli import answers
from flows.project import DRIFTED, ENDING, project_id
from graft.core.errors import GraftError
from graft.core.exit_code import exit_code
from graft.core.workspace import Workspace

FILE = "prefect.yaml"
IDENTITY = "{{ $GRAFT_PROJECT_ID }}"
HEARTBEAT_AUTOMATION = "graft: a training run without heartbeats has crashed"
# Notification blocks by type and name, such as ``slack-webhook/team, custom-webhook/alerts``.
NOTIFY = "GRAFT_NOTIFY"


def deploy(project: Path) -> list[str]:
    """Make or update the work pool, the deployments of prefect.yaml and the automations.

    Args:
        project: the folder that holds prefect.yaml, and in which runs will happen.

    Returns:
        The names of the deployments.

    Raises:
        GraftError: no server answers, a name does not carry the project's identity, or Prefect refuses.
    """
    _need_server()
    identity = project_id(Workspace(project))
    listed = _listed(project)
    for pool in dict.fromkeys(item["work_pool"]["name"].replace(IDENTITY, identity) for item in listed):
        _prefect(project, "work-pool", "create", "--type", "process", "--overwrite", pool)
    _prefect(project, "deploy", "--all")
    with get_client(sync_client=True) as client:
        for automation in (heartbeat_automation(), *notifications(identity)):
            for known in client.read_automations_by_name(automation.name):
                client.delete_automation(known.id)
            client.create_automation(automation)
    return [item["name"].replace(IDENTITY, identity) for item in listed]


def heartbeat_automation() -> AutomationCore:
    """Mark a run as crashed whose heartbeats (one in three minutes) stopped: its machine may be gone.

    Of training runs alone: the others take seconds, and their first heartbeat may come after their end.
    """
    return AutomationCore(
        name=HEARTBEAT_AUTOMATION,
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.*", ENDING},  # another heartbeat, or an end in a state of any name
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related={"prefect.resource.role": "flow", "prefect.resource.name": "graft-pipeline"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(minutes=10),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message="no heartbeat for ten minutes")],  # type: ignore[call-arg]
    )


def notifications(identity: str) -> list[AutomationCore]:
    """Send a message through each block named in GRAFT_NOTIFY, once a day at most of each deployment and event.

    Raises:
        GraftError: there is no such block.
    """
    made = []
    for name in filter(None, (part.strip() for part in os.environ.get(NOTIFY, "").split(","))):
        kind, _, document = name.partition("/")
        try:
            with get_client(sync_client=True) as client:
                block = client.read_block_document_by_name(document, kind)
        except ObjectNotFound:
            remedy = "save it on Prefect's page (Blocks), and name it as TYPE/NAME"
            raise GraftError(f"there is no notification block '{name}'", where=NOTIFY, remedy=remedy) from None
        trigger = EventTrigger(
            expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed", DRIFTED},
            match_related={"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{identity}"},
            for_each={"event", "related:deployment:prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(days=1),
        )
        action = SendNotification(
            block_document_id=block.id,
            subject="{{ event.resource.name }}: {{ event.event }}",
            body="{{ event.payload.what or event.payload.validated_state.message }}",
        )
        made.append(AutomationCore(name=f"{identity}: tell {name}", trigger=trigger, actions=[action]))
    return made


def _need_server() -> None:
    server = PREFECT_API_URL.value()
    if not server or not answers(server):
        raise GraftError(
            "no Prefect server answers",
            where=server or "PREFECT_API_URL is not set",
            remedy="start one with `make server`; if it is elsewhere, set PREFECT_API_URL",
        )


def _listed(project: Path) -> list[dict[str, Any]]:
    """The deployments of prefect.yaml; names carry the project's identity, so that no folder takes over another's."""
    from ruamel.yaml import YAML

    file = project / FILE
    try:
        found: list[dict[str, Any]] = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))["deployments"]
    except FileNotFoundError:
        raise GraftError("there is no prefect.yaml here", where=file, remedy="run from the project's folder") from None
    for item in found:
        if IDENTITY not in item["name"]:
            raise GraftError(
                f"the deployment '{item['name']}' of another folder could bear the same name",
                where=file,
                remedy=f'name it "{item["name"]}-{IDENTITY}"',
            )
    return found


def _prefect(project: Path, *arguments: str) -> None:
    """Run Prefect's command in the project, with what prefect.yaml takes from the environment."""
    values = {"GRAFT_PROJECT": str(project), "GRAFT_PROJECT_ID": project_id(Workspace(project))}
    done = subprocess.run(
        [str(Path(sys.executable).with_name("prefect")), "--no-prompt", *arguments],
        cwd=project,
        env={**os.environ, **values, "PREFECT_API_URL": PREFECT_API_URL.value() or ""},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-800:]
        raise GraftError(f"`prefect {' '.join(arguments)}` failed: {said}", where=project / FILE)


if __name__ == "__main__":
    sys.exit(exit_code(lambda: print(f"deployed {', '.join(deploy(Path().resolve()))}")))
