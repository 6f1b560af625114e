"""The flow that trains again when the user's data changed since the last ingest.

It asks DVC, which compares places, sizes and times and so reads no image that is as it was.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.deployments import run_deployment
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect.variables import Variable

from flows.graph import changed_inputs
from flows.project import DATA_CHANGED, ProjectBusyError, emit, project_id, project_lock
from graft.core.config import load_params
from graft.core.errors import GraftError
from graft.core.workspace import Workspace
from graft.data.changes import compare_with_ingested
from graft.pipeline.locate import refuse_missing

# Stages that read the user's data; their other inputs are graft's own code.
READERS = ("locate", "ingest", "gather")
CODE = "src/"


@dataclass(frozen=True)
class DataChange:
    """A change of the user's data since the last ingest.

    Attributes:
        description: which inputs changed, and what that means in images.
        cause: the same in a few words, for the name of the run that takes them in.
        content: a hash that tells it from any other change.
    """

    description: str
    cause: str
    content: str


@flow(name="graft-watch", flow_run_name="watch")
def watch(root: str = ".", deployment: str | None = None) -> State[Any]:
    """Emit ``graft.data.changed`` and start a training, once for each change of the data.

    A change that no run takes in, because it is refused, is not trained on again at every look: the nightly run tries.

    Args:
        root: the project's folder.
        deployment: what trains on changed data, as FLOW/DEPLOYMENT; None: nothing does.
    """
    workspace = Workspace(Path(root).resolve())
    try:
        with project_lock(workspace):
            found = data_change(workspace)
    except ProjectBusyError as error:  # what that run does not take in, the next look finds
        return Completed(name="Skipped", message=error.message())
    except GraftError as error:
        return Failed(message=error.message())
    known = f"{project_id(workspace)}-data"  # the last change for which a training was asked
    if found is None:
        Variable.unset(known)
        return Completed(name="Unchanged", message="the data is what the last run took in")
    if Variable.get(known, "") != found.content:
        emit(DATA_CHANGED, workspace, what=found.description, cause=found.cause)
        if deployment is not None:
            # An automation on the event may fire twice where the server's database is busy: Prefect sends the action
            # before it commits, and evaluates the event again if that fails. This key starts one run however often.
            run_deployment(
                deployment,
                parameters={"cause": found.cause},
                timeout=0,
                as_subflow=False,
                idempotency_key=str(flow_run.id),
            )
        Variable.set(known, found.content, overwrite=True)
    return Completed(name="Changed", message=found.description)


def data_change(workspace: Workspace) -> DataChange | None:
    """The change of the user's data since the last ingest; None if there is none.

    Raises:
        ProjectBusyError: a run is taking the data in.
        GraftError: there is no project here, or its data cannot be listed.
    """
    if workspace.params.exists():
        refuse_missing(load_params(workspace.params), workspace.root)
    inputs = changed_inputs(workspace.root, READERS)
    data = {path: change for path, change in sorted(inputs.items()) if not path.startswith(CODE)}
    if not data:
        return None
    words = ", ".join(f"{path} ({change.how})" for path, change in data.items())
    content = hashlib.sha256(repr(data).encode()).hexdigest()
    if not workspace.params.exists():
        return DataChange(words, words, content)
    changes = compare_with_ingested(load_params(workspace.params), workspace)
    return DataChange(f"{words}: {changes.describe()}", changes.brief(), content)
