"""What is wrong with this folder or table of images: the pipeline's own checks, run on it without a workspace."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft.core.config import load_params
from graft.core.errors import DataError
from graft.core.settings import Candidate, Params, Zoo
from graft.core.workspace import Workspace
from graft.data.doctor.audit import Examination, Settings, judge, look, unreadable
from graft.data.doctor.cleaned_copy import check_output, write_cleaned_copy

if TYPE_CHECKING:
    from rich.console import Console

# The defaults of params.yaml, for where there is none; the candidate in it stands for any.
DEFAULTS = Settings(Params(zoo=Zoo(candidates=(Candidate(arch="resnet18", weights="none"),))))


def settings_here() -> Settings:
    """Those of the project that the current folder lies in; where there is none graft's defaults.

    Raises:
        ConfigError: the project's params.yaml cannot be used.
    """
    project = Workspace.find()
    return Settings(load_params(project.params), project) if project.params.is_file() else DEFAULTS


def examine(source: str, settings: Settings, root: Path | None = None) -> Examination:
    """Scan, decode and check ``source`` as the pipeline would.

    Never raises for bad data: what the pipeline would raise is a critical finding.

    Raises:
        ConfigError: the settings cannot be used.
    """
    try:
        specimen = look(source, settings, root)
    except DataError as error:
        return unreadable(source, error, settings)
    return judge(specimen, settings)


def doctor(source: str, as_json: bool, settings: Settings | None = None, fix: Path | None = None) -> int:
    """Examine ``source``, print what was found, and return 0, or 1 where training on it would be refused.

    Args:
        source: what ``data.source`` could be.
        as_json: print one object for programs.
        settings: what it is held to; :func:`settings_here` without.
        fix: where to write a cleaned copy as a table; the code returned is then about that copy.

    Raises:
        ConfigError: the settings cannot be used.
        DataError: the cleaned copy cannot be written.
    """
    settings = settings or settings_here()
    tell = _tell_programs if as_json else _tell_people
    if fix is not None:
        return _clean(source, settings, fix, as_json)
    examination = examine(source, settings)
    tell(examination)
    return 1 if examination.refused else 0


def _clean(source: str, settings: Settings, fix: Path, as_json: bool) -> int:
    """Examine, write the copy, and say what becomes of it."""
    check_output(fix)
    specimen = look(source, settings)
    before = judge(specimen, settings)
    unfit = specimen.unfit()
    cleaned = write_cleaned_copy(specimen.found, unfit, fix)
    after = judge(specimen.without(set(unfit)), settings)
    if as_json:
        _print_json({**before.to_json(), "cleaned": {**cleaned.to_json(), "refused": after.refused}})
    else:
        from graft.data.doctor.diagnosis import show, show_cleaned

        show(before, _console())
        show_cleaned(cleaned, before, after, _console())
    return 1 if after.refused else 0


def _tell_programs(examination: Examination) -> None:
    _print_json(examination.to_json())


def _tell_people(examination: Examination) -> None:
    from graft.data.doctor.diagnosis import show, show_way_out

    show(examination, _console())
    show_way_out(examination, _console())


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def _print_json(values: dict[str, Any]) -> None:
    json.dump(values, sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")
