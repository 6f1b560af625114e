"""Protects the user's files in the outputs of a stage, which the stage replaces.

DVC deletes no output (all of them persist), so this holds for a plain ``dvc repro`` too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.core.errors import DataError
from graft.core.files import DEBRIS, write_json
from graft.data.protected_paths import outputs_of

_SHOWN = 3


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
