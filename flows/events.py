"""What graft's flows tell Prefect's automations: events that chain changed data to training and to promotion."""

from __future__ import annotations

from typing import Any

from flows.startup import start

start()

from prefect.events import emit_event  # noqa: E402

from flows.project import project_id  # noqa: E402
from graft.core.workspace import Workspace  # noqa: E402

DATA_CHANGED = "graft.data.changed"
TRAINED = "graft.trained"
DRIFTED = "graft.drifted"


def emit(event: str, workspace: Workspace, **payload: Any) -> None:
    """Emit ``event`` for the project in ``workspace``; where no server listens, it goes nowhere."""
    project = project_id(workspace)
    resource = {"prefect.resource.id": f"graft.project.{project}", "prefect.resource.name": project}
    emit_event(event, resource=resource, payload={"root": str(workspace.root.resolve()), **payload})
