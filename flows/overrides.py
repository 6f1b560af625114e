"""A deployment's own settings, written into params.yaml for everybody to see, and never over a person's edit.

What a run was made with has to stand in params.yaml: DVC records it in dvc.lock, and `dvc repro` by hand,
`dvc status` and `dvc exp` must see the same values. So a deployment's values are written into the file as git has it,
and stay there. A file that somebody is just editing is left alone, and the run refused.
"""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.turn import Say
from graft.core.config import load_params, parse_params
from graft.core.errors import ConfigError
from graft.core.files import write_json, write_text
from graft.core.workspace import Workspace


def write_overrides(workspace: Workspace, values: Mapping[str, Any], say: Say) -> None:
    """Write ``values`` (dotted keys of params.yaml -> values) into the workspace's params.yaml.

    In a git checkout they are applied to the committed file, so that a value the deployment no longer names goes back
    to the committed one, the last one too; elsewhere to the file as it is. Comments and layout stay.

    Args:
        workspace: the project; the caller holds its turn.
        values: such as ``{"data.source": "/data/leaves", "package.gate.min_accuracy": 0.9}``.
        say: called with a line for people for each value that changes.

    Raises:
        ConfigError: the file has uncommitted edits by somebody else, there is no such key, or a value cannot be used.
    """
    path, note = workspace.params, workspace.lock.parent / "overrides.json"
    load_params(path)  # what is wrong with the file already is not this run's fault
    now = path.read_text(encoding="utf-8")
    committed = _committed(path)
    if committed is not None and now not in {committed, _written(note)}:
        if not values:
            return
        raise ConfigError(
            "params.yaml has edits that are not committed, and this run brings values of its own",
            where=path,
            remedy="commit them, or take them back with `git checkout params.yaml`",
        )
    base = now if committed is None else committed
    text = _with_values(base, values, path) if values else base
    if text != now:
        if not values:
            say("params.yaml: it is as git has it again, for this run's parameters name no value")
        for key, value in values.items():
            say(f"params.yaml: {key} is {json.dumps(value, ensure_ascii=False)} by this run's parameters")
        # The note comes first: a kill in between leaves a file that is as git has it.
        write_json(note, {"text": text})
        write_text(path, text)


def _with_values(text: str, values: Mapping[str, Any], path: Path) -> str:
    from ruamel.yaml import YAML

    # As DVC writes params.yaml (`dvc exp run -S`), so that neither reformats what the other wrote.
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 120
    document = yaml.load(text)
    for key, value in values.items():
        *sections, last = key.split(".")
        section = document
        for name in sections:
            section = section.setdefault(name, {}) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            raise ConfigError(f"{key!r} is no key of params.yaml", where=path)
        section[last] = value
    buffer = io.StringIO()
    yaml.dump(document, buffer)
    # Read again by the settings' own rules, which name an unknown key's nearest neighbours.
    parse_params(YAML(typ="safe", pure=True).load(buffer.getvalue()), path)
    return buffer.getvalue()


def _committed(path: Path) -> str | None:
    """The file as the last commit has it; None where there is no git, or git does not have it."""
    done = subprocess.run(
        ["git", "show", f"HEAD:./{path.name}"], cwd=path.parent, capture_output=True, text=True, check=False
    )
    return done.stdout if done.returncode == 0 else None


def _written(note: Path) -> str | None:
    """The file as an earlier run wrote it."""
    try:
        text = json.loads(note.read_text(encoding="utf-8"))["text"]
    except (OSError, ValueError, KeyError):
        return None
    return str(text)
