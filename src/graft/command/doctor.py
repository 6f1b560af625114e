"""`graft doctor`: what is wrong with a folder or table of images, and a cleaned copy of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path


def examine(source: str, as_json: bool, fix: Path | None, follow_links: bool) -> int:
    """Examine ``source`` by graft's default thresholds; returns the exit code.

    Raises:
        ConfigError: the project's settings ask for a device that is not here.
        DataError: a cleaned copy was asked for and cannot be written.
    """
    from graft.config import load_params
    from graft.images.doctor import default_params, doctor
    from graft.train.devices import require_device
    from graft.workspace import Workspace

    params = default_params()
    data = dataclasses.replace(params.data, follow_links=follow_links)
    code = doctor(source, as_json, dataclasses.replace(params, data=data), fix)
    settings = Workspace.find().params
    if settings.is_file():
        require_device(load_params(settings).compute.device)
    return code
