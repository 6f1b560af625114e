"""Which project this is, to a Prefect server that knows several: a name made of the folder's name and its place."""

from __future__ import annotations

import hashlib
import os
import re

from graft.core.workspace import Workspace

_LONGEST = 40


def project_id(workspace: Workspace) -> str:
    """Such as ``vision-1a2b3c4d``: the folder's name and eight digits of the hash of its path.

    It is in the names of deployments and work pools, in events and in the keys of artifacts, all of which may hold
    small letters, digits and dashes. Two clones of one repository are two projects: each has its own data and models.
    """
    root = workspace.root.resolve()
    name = re.sub(r"[^a-z0-9]+", "-", root.name.lower()).strip("-")[:_LONGEST] or "project"
    return f"{name}-{hashlib.sha256(os.fsencode(root)).hexdigest()[:8]}"
