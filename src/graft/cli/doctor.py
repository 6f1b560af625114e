"""`graft doctor`: what is wrong with a folder or table of images, and a cleaned copy of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path


def run_doctor(source: str, as_json: bool, fix: Path | None, follow_links: bool, label_from: str | None) -> int:
    """Audit ``source`` by the settings of the project around the current folder; returns the exit code.

    Args:
        source: what ``data.source`` could be; relative to the current folder.
        as_json: print one object for programs.
        fix: where to write a cleaned copy.
        follow_links: read links that lead out, whatever ``data.follow_links`` says.
        label_from: what finds the labels in the files' paths, in place of ``data.label_from``.

    Raises:
        ConfigError: the project's params.yaml cannot be used, or asks for a device that is not here.
        DataError: a cleaned copy was asked for and cannot be written.
    """
    from graft.data.doctor.doctor import doctor, project_settings
    from graft.pipeline.validate import classes_in_use
    from graft.training.compute.devices import require_device

    settings = project_settings()
    data = settings.params.data
    data = replace(data, follow_links=follow_links or data.follow_links, label_from=label_from or data.label_from)
    classes = None if settings.project is None else classes_in_use(settings.project)[0]
    settings = replace(settings, params=replace(settings.params, data=data), model_classes=classes)
    code = doctor(source, as_json, settings, fix)
    if settings.project is not None:
        require_device(settings.params.compute.device)
    return code
