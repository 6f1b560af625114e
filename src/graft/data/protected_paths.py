"""Refuses data and weights of the user's that lie where graft writes and replaces files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from graft.core.errors import DataError, GraftError

# What is written besides dvc.yaml's outputs: by DVC, by `make install`, by commands, and by stages of themselves.
_BESIDES = (".dvc", ".graft", ".venv", "data/.links", "models/promoted", "reports/live", "reports/timing.json")


def outputs_of(root: Path) -> Mapping[str, tuple[Path, ...]]:
    """The outputs of every stage of ``root``'s dvc.yaml, relative to ``root``; none where there is no such file."""
    try:
        return _read(root.resolve() / "dvc.yaml")
    except FileNotFoundError:
        return {}


@cache
def _read(path: Path) -> Mapping[str, tuple[Path, ...]]:
    from ruamel.yaml import YAML

    stages = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")).get("stages") or {}
    return {
        name: tuple(Path(out if isinstance(out, str) else next(iter(out))) for out in stage.get("outs") or ())
        for name, stage in stages.items()
    }


def refuse_output(path: Path, root: Path, error: type[GraftError] = DataError) -> None:
    """Refuse a path that is, holds, or lies inside anything that graft writes, however it is spelled.

    Links are followed and files compared by identity: ``..``, absolute paths and another case make no difference.

    Args:
        path: data, weights, or a place that the user wants something written to.
        root: a folder of the project; its dvc.yaml lies here or in a folder above.
        error: what is raised.

    Raises:
        GraftError: of the class ``error``.
    """
    project = next((folder for folder in (root, *root.absolute().parents) if (folder / "dvc.yaml").is_file()), None)
    # No file system has a name with a null byte: there is nothing to lose, and whoever reads it says so.
    if project is None or "\0" in str(path):
        return
    written = [*(out for outs in outputs_of(project).values() for out in outs), *map(Path, _BESIDES)]
    for out in written:
        lies_inside = _lies_inside(path, project / out)
        if lies_inside or _lies_inside(project / out, path):
            raise error(
                f"this {'lies in' if lies_inside else 'holds'} {out.as_posix()}, which graft writes and replaces",
                where=path,
                remedy="put what is yours into a folder of its own, for instance data/mine, and name that",
            )


def _lies_inside(path: Path, folder: Path) -> bool:
    """Whether ``path`` is the folder, or below it. Both may be missing."""
    top, real = (Path(os.path.realpath(item)) for item in (folder, path))
    return any(_is_same(place, top) for place in (real, *real.parents))


def _is_same(first: Path, second: Path) -> bool:
    """Whether two paths are one file; where neither exists, whether they could be on a disk without case."""
    try:
        return first.samefile(second)
    except OSError:
        return str(first).casefold() == str(second).casefold() and not (first.exists() or second.exists())
