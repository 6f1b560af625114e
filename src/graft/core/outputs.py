"""Protects the user's files in and around what graft writes and replaces.

DVC deletes no output (all of them persist), so this holds for a plain ``dvc repro`` too:

- :func:`refuse_output` refuses data and weights that lie where graft writes;
- :class:`StageOutputs` refuses to run a stage that would replace files which graft did not write.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from graft.core.errors import DataError, GraftError
from graft.core.files import DEBRIS, write_json

# What is written besides dvc.yaml's outputs: by DVC, by `make install`, by commands, and while a training runs.
_BESIDES = (".dvc", ".graft", ".venv", "data/.links", "models/promoted", "reports/live")
_SHOWN = 3


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


@dataclass(frozen=True)
class StageOutputs:
    """The outputs of one stage, and what is known of the files in them.

    A file is graft's where its size and time are those that the stage's last run left (``.graft/outputs``), or where
    DVC knows its content, as after ``dvc pull`` or ``dvc checkout``. All others are the user's.

    Attributes:
        stage: its name in dvc.yaml.
        root: the project's folder.
    """

    stage: str
    root: Path

    @property
    def paths(self) -> tuple[Path, ...]:
        """Relative to the root; none where the project has no such stage."""
        return outputs_of(self.root).get(self.stage, ())

    @property
    def _record(self) -> Path:
        return self.root / ".graft" / "outputs" / f"{self.stage}.json"

    def protect(self) -> None:
        """Check that all files in the outputs are graft's, before the stage begins.

        What a killed run left cannot be told from what a user put there. It is moved aside, and a line says so.

        Raises:
            DataError: some are the user's.
        """
        if not self.paths:
            return
        recorded = self._recorded()
        known = dict(recorded["files"])
        unknown = [path for path, state in self._files().items() if known.get(path) != state]
        if unknown:
            unknown = self._unknown_to_dvc(unknown)
        if unknown and recorded["finished"]:
            raise self._refusal(unknown)
        if unknown:
            self._set_aside(unknown)
        write_json(self._record, {"finished": False, "files": self._files()})

    def written(self) -> None:
        """Record what the stage left."""
        if self.paths:
            write_json(self._record, {"finished": True, "files": self._files()})

    def _recorded(self) -> dict[str, Any]:
        try:
            found = json.loads(self._record.read_text(encoding="utf-8"))
            return {"finished": bool(found["finished"]), "files": dict(found["files"])}
        except (OSError, ValueError, KeyError, TypeError):
            return {"finished": True, "files": {}}

    def _files(self) -> dict[str, list[int]]:
        """Size and time of every file in the outputs, by its path relative to the root; a link is not followed."""
        found = {}
        for out in self.paths:
            for path in _files_in(self.root / out):
                state = path.lstat()
                found[path.relative_to(self.root).as_posix()] = [state.st_size, state.st_mtime_ns]
        return found

    def _unknown_to_dvc(self, files: Iterable[str]) -> list[str]:
        """Those of ``files`` whose content is not what dvc.lock says."""
        if not (self.root / "dvc.lock").is_file():
            return list(files)
        command = [sys.executable, "-m", "dvc", "data", "status", "--granular", "--json", *map(str, self.paths)]
        done = subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False)
        if done.returncode:
            return list(files)
        status = json.loads(done.stdout)
        changes: dict[str, list[Any]] = status.get("uncommitted", {})
        changed = {item["new"] if isinstance(item, dict) else item for items in changes.values() for item in items}
        # Of a folder whose list of files is lost, DVC cannot say which are its own.
        lost = {name.rstrip("/") for name in status.get("not_in_cache", ())}
        return [file for file in files if file in changed or self._out_of(file).as_posix() in lost]

    def _refusal(self, unknown: list[str]) -> DataError:
        out = self._out_of(unknown[0])
        return DataError(
            f"the stage {self.stage!r} replaces {out.as_posix()}, and graft did not write what lies there: "
            f"{_named(unknown)}",
            where=self.root / out,
            remedy="move what is yours to a folder of its own, for instance data/mine, and name that as data.source; "
            f"where nothing of it is yours, delete {out.as_posix()}",
        )

    def _set_aside(self, unknown: list[str]) -> None:
        aside = self.root / ".graft" / "set aside" / f"{time.strftime('%Y-%m-%d %H.%M.%S')} {self.stage}"
        for file in unknown:
            (aside / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(self.root / file, aside / file)
        print(
            f"{self.stage}: the run before was killed, so {_named(unknown)}, which it or you left, is moved to "
            f"{aside}; delete that where nothing is yours",
            file=sys.stderr,
        )

    def _out_of(self, file: str) -> Path:
        return next(out for out in self.paths if Path(file).is_relative_to(out))


def _named(files: list[str]) -> str:
    return ", ".join(files[:_SHOWN]) + (f" and {len(files) - _SHOWN:,} more" if len(files) > _SHOWN else "")


def _files_in(path: Path) -> list[Path]:
    """Every file below a folder, or the file itself; a link to a folder counts as a file."""
    if not path.is_dir():
        return [path] if os.path.lexists(path) else []
    found = []
    for folder, folders, files in os.walk(path):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        found += [Path(folder) / name for name in (*files, *links) if name.casefold() not in DEBRIS]
    return sorted(found)
