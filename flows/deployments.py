"""Tell the Prefect server what runs by itself: ``python -m flows.deployments`` (``make deploy``).

prefect.yaml is the only place where schedules, parameters and triggers are written. What it cannot say is added here:
the work pool, and the automation that ends a run whose machine fell silent.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from flows.startup import end_quickly, start

start()

from prefect import get_client  # noqa: E402
from prefect.client.schemas.actions import WorkPoolCreate  # noqa: E402
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName  # noqa: E402
from prefect.client.schemas.objects import StateType  # noqa: E402
from prefect.events.actions import ChangeFlowRunState  # noqa: E402
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture  # noqa: E402
from prefect.exceptions import ObjectAlreadyExists  # noqa: E402

from flows.project import project_id  # noqa: E402
from flows.server import address, answers  # noqa: E402
from flows.terminal import say  # noqa: E402
from graft.core.errors import GraftError, exit_code  # noqa: E402
from graft.core.workspace import Workspace  # noqa: E402

FILE = "prefect.yaml"
SILENCE = "graft: a run that fell silent has crashed"
SILENT = "it gave no sign of life for minutes"
# `make worker` has flows give a sign of life every minute; this many without one, and the machine is taken for dead.
SILENT_MINUTES = 4
# All but graft-crashes: of a flow that takes no second, the sign of life always comes after the end, as if it were the
# last. Where that happens to a short run of the others, the server refuses to end it a second time.
LONG_FLOWS = ["graft-pipeline", "graft-watch", "graft-monitor", "graft-promote", "graft-rollback"]


@dataclass(frozen=True)
class Deployed:
    """A deployment of prefect.yaml.

    Attributes:
        written: its name as the file has it.
        name: the same with the project filled in.
        entrypoint: the flow's file and function.
        pool: the work pool that its runs go to, with the project filled in.
    """

    written: str
    name: str
    entrypoint: str
    pool: str


def deploy(project: Path, names: Sequence[str] = ()) -> list[str]:
    """Make the pool, the deployments of prefect.yaml and the automation; what is there already is brought up to date.

    Args:
        project: the folder that holds prefect.yaml, and in which runs will happen.
        names: of deployments, as prefect.yaml has them or without the project; none: all whose flow is there.

    Returns:
        The names of what was deployed.

    Raises:
        GraftError: no server answers, there is no such deployment, one of that name is another folder's, or Prefect
            refuses one.
    """
    need_server()
    chosen = _chosen(project, names)
    _refuse_anothers(project, chosen)
    for pool in dict.fromkeys(item.pool for item in chosen):
        make_pool(pool)
    prefect = str(Path(sys.executable).with_name("prefect"))
    named = [argument for item in chosen for argument in ("--name", item.written)]
    done = subprocess.run(
        [prefect, "--no-prompt", "deploy", *named],
        cwd=project,
        env={**os.environ, **_variables(project), "PREFECT_API_URL": address()},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise GraftError(f"Prefect did not deploy: {(done.stderr or done.stdout).strip()[-800:]}", where=project / FILE)
    _watch_for_silence()
    return [item.name for item in chosen]


def pool_of(project: Path) -> str:
    """The work pool that prefect.yaml names.

    Raises:
        GraftError: there is no prefect.yaml, or it names several.
    """
    pools = sorted({item.pool for item in _listed(project)})
    if len(pools) != 1:
        raise GraftError(
            f"prefect.yaml names several work pools: {', '.join(pools)}",
            where=project / FILE,
            remedy="a worker takes from one: say which by --pool, and begin a worker for each",
        )
    return pools[0]


def need_server() -> None:
    """Refuse where no server answers.

    Raises:
        GraftError: none is configured, or it does not answer.
    """
    if not address() or not answers(address()):
        raise GraftError(
            "no Prefect server answers",
            where=address() or "PREFECT_API_URL is not set",
            remedy="start one with `make server`; if it is elsewhere, set PREFECT_API_URL",
        )


def make_pool(name: str) -> None:
    """Make the work pool if it is missing."""
    with get_client(sync_client=True) as client:
        try:
            client.create_work_pool(WorkPoolCreate(name=name, type="process"))
        except ObjectAlreadyExists:
            return
    say(f"made the work pool '{name}'")


def _variables(project: Path) -> dict[str, str]:
    """What prefect.yaml takes from the environment."""
    return {"GRAFT_PROJECT": str(project), "GRAFT_PROJECT_ID": project_id(Workspace(project))}


def _listed(project: Path) -> list[Deployed]:
    """What prefect.yaml says."""
    from ruamel.yaml import YAML

    file, identity = project / FILE, project_id(Workspace(project))
    try:
        found: list[dict[str, Any]] = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))["deployments"]
    except FileNotFoundError:
        raise GraftError("there is no prefect.yaml here", where=file, remedy="run from the project's folder") from None

    def filled(text: str) -> str:
        return re.sub(r"\{\{\s*\$GRAFT_PROJECT_ID\s*\}\}", identity, text)

    return [
        Deployed(item["name"], filled(item["name"]), item["entrypoint"], filled(item["work_pool"]["name"]))
        for item in found
    ]


def _chosen(project: Path, names: Sequence[str]) -> list[Deployed]:
    """The deployments to make: those named, or all whose flow's file is there."""
    suffix = f"-{project_id(Workspace(project))}"
    known = {item.name.removesuffix(suffix): item for item in _listed(project)}
    short = [name.removesuffix(suffix) for name in names]
    unknown = [name for name in short if name not in known]
    if unknown:
        remedy = f"it has {', '.join(known)}"
        raise GraftError(f"there is no deployment {unknown[0]!r}", where=project / FILE, remedy=remedy)
    there = (known[name] for name in short or known)
    return [item for item in there if (project / item.entrypoint.partition(":")[0]).exists()]


def _refuse_anothers(project: Path, chosen: Sequence[Deployed]) -> None:
    """Refuse to change what runs in another folder."""
    with get_client(sync_client=True) as client:
        names = DeploymentFilterName(any_=[item.name for item in chosen])
        found = client.read_deployments(deployment_filter=DeploymentFilter(name=names))
    entrypoints = {item.name: item.entrypoint for item in chosen}
    for known in found:
        folders = [
            values["directory"]
            for step in known.pull_steps or ()
            for values in step.values()
            if isinstance(values, dict) and "directory" in values
        ]
        if known.entrypoint == entrypoints[known.name] and folders and folders != [str(project)]:
            raise GraftError(
                f"the deployment '{known.name}' is that of another folder: {folders[0]}",
                where=project / FILE,
                remedy=f"give it a name of its own there, such as {known.name}-{{{{ $GRAFT_PROJECT_ID }}}}; "
                f"if that folder is gone, `.venv/bin/prefect deployment delete {known.id}` first",
            )


def silence() -> EventTrigger:
    """What tells the server that a run's machine is gone: after a sign of life comes neither another nor any state."""
    return EventTrigger(
        after={"prefect.flow-run.heartbeat"},
        # A run ends in a state of any name, such as Unchanged.
        expect={"prefect.flow-run.*"},
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related={"prefect.resource.role": "flow", "prefect.resource.name": LONG_FLOWS},
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=timedelta(minutes=SILENT_MINUTES),
    )


def _watch_for_silence() -> None:
    """Have the server end runs of workers that give no more signs of life: their whole machine may be gone."""
    automation = AutomationCore(
        name=SILENCE,
        description="Prefect's heartbeats of graft's flows stopped.",
        trigger=silence(),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=SILENT)],  # type: ignore[call-arg]
    )
    with get_client(sync_client=True) as client:
        for known in client.read_automations_by_name(SILENCE):
            client.delete_automation(known.id)
        client.create_automation(automation)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.deployments", description="Deploy what prefect.yaml names.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="deployments; none: all")
    parser.add_argument("--project", type=Path, default=Path(), help="the project's folder (default: this one)")
    chosen = parser.parse_args(arguments)

    def work() -> None:
        made = deploy(chosen.project.resolve(), chosen.names)
        say(f"deployed {', '.join(made)}: {address().removesuffix('/api')}/deployments")

    code = exit_code(work)
    end_quickly()
    return code


if __name__ == "__main__":
    sys.exit(main())
