"""A project's identity on a shared Prefect server, its events, and the lock that its runs take in turn."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from filelock import FileLock, Timeout

from graft.core.errors import GraftError
from graft.core.workspace import Workspace

DATA_CHANGED = "graft.data.changed"
TRAINED = "graft.trained"
DRIFTED = "graft.drifted"
ENDING = "graft.run.ending"

# Who only looks whether the project is busy holds the lock for a moment.
LOOK_SECONDS = 1.0
_LONGEST_NAME = 40


class ProjectBusyError(GraftError):
    """Another run is at work in this project."""


def project_id(workspace: Workspace) -> str:
    """The folder's name and eight hex digits of the hash of its path, such as ``vision-1a2b3c4d``.

    It is in the names of deployments, work pool and automations, in events and in keys of artifacts. Two clones of one
    repository are two projects: each has its own data and models.
    """
    root = workspace.root.resolve()
    name = re.sub(r"[^a-z0-9]+", "-", root.name.lower()).strip("-")[:_LONGEST_NAME] or "project"
    return f"{name}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:8]}"


def emit(event: str, workspace: Workspace, **payload: Any) -> None:
    """Emit a Prefect event about the project, for automations."""
    from prefect.events import emit_event

    project = project_id(workspace)
    resource = {"prefect.resource.id": f"graft.project.{project}", "prefect.resource.name": project}
    emit_event(event, resource=resource, payload={"root": str(workspace.root.resolve()), **payload})


@contextmanager
def project_lock(workspace: Workspace, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the project's lock; the kernel releases it with the process, however that ends.

    Prefect's concurrency limit keeps runs of one deployment apart. This lock does so for runs by hand as well, which no
    server or another one knows.

    Args:
        workspace: the project.
        on_wait: called with a line for people before waiting for another run; None: do not wait.

    Raises:
        ProjectBusyError: another run holds it, and this one is not to wait.
    """
    path = workspace.lock.parent / "flow.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=LOOK_SECONDS)
    except Timeout:
        busy = f"another run is at work here (`fuser {path}` tells its process)"
        if on_wait is None:
            raise ProjectBusyError(busy, where=workspace.root) from None
        on_wait(f"waiting: {busy}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


if __name__ == "__main__":
    print(project_id(Workspace()))
