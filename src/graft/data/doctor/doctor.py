"""`graft doctor`: run the pipeline's own checks on a folder or table of samples, without a workspace."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from graft.core.config import load_params
from graft.core.errors import DataError
from graft.core.settings import Candidate, Params, Zoo
from graft.core.workspace import Workspace
from graft.data.doctor.audit import Audit, AuditSettings, audit, load
from graft.data.doctor.cleaned_copy import check_output, write_cleaned_copy
from graft.data.doctor.source_findings import from_error

if TYPE_CHECKING:
    from rich.console import Console

# The defaults of params.yaml, for where there is none; the candidate in it stands for any.
DEFAULTS = AuditSettings(Params(zoo=Zoo(candidates=(Candidate(arch="resnet18", weights="none"),))))


def project_settings() -> AuditSettings:
    """Those of the project that the current folder lies in; where there is none graft's defaults.

    Raises:
        ConfigError: the project's params.yaml cannot be used.
    """
    project = Workspace.find()
    return AuditSettings(load_params(project.params), project) if project.params.is_file() else DEFAULTS


def audit_path(source: str, settings: AuditSettings, root: Path | None = None) -> Audit:
    """List, decode and check ``source`` as the pipeline would; what the pipeline would raise is a critical finding.

    Raises:
        ConfigError: the settings cannot be used.
    """
    try:
        loaded = load(source, settings, root)
    except DataError as error:
        return Audit(source, settings.name, findings=(from_error("source", "the data can be found", error),))
    return audit(loaded, settings)


def doctor(source: str, as_json: bool, settings: AuditSettings | None = None, fix: Path | None = None) -> int:
    """Audit ``source``, print what was found, and return 0, or 1 where training on it would be refused.

    Args:
        source: what ``data.source`` could be.
        as_json: print one object for programs.
        settings: what it is checked against; :func:`project_settings` without.
        fix: where to write a cleaned copy as a table; the code returned is then about that copy.

    Raises:
        ConfigError: the settings cannot be used.
        DataError: the cleaned copy cannot be written.
    """
    from graft.data.doctor.console import print_audit, print_fix_command

    settings = settings or project_settings()
    if fix is not None:
        return _fix(source, settings, fix, as_json)
    found = audit_path(source, settings)
    if as_json:
        _print_json(found.to_json())
    else:
        print_audit(found, _console())
        print_fix_command(found, _console())
    return 1 if found.refused else 0


def _fix(source: str, settings: AuditSettings, fix: Path, as_json: bool) -> int:
    """Audit, write the cleaned copy, and say what becomes of it."""
    from graft.data.doctor.console import print_audit, print_cleaned

    check_output(fix)
    loaded = load(source, settings)
    before = audit(loaded, settings)
    unusable = loaded.unusable_files(settings.modality)
    cleaned = write_cleaned_copy(loaded.found, unusable, fix)
    after = audit(loaded.without(set(unusable)), settings)
    if as_json:
        facts = {"table": str(cleaned.table), "log": str(cleaned.log), "refused": after.refused}
        _print_json({**before.to_json(), "cleaned": {**asdict(cleaned), **facts}})
    else:
        print_audit(before, _console())
        print_cleaned(cleaned, before, after, _console())
    return 1 if after.refused else 0


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def _print_json(values: object) -> None:
    json.dump(values, sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")
