"""The shipped dvc.yaml: what a change of the augmentation runs again, and that a refused policy stops training.

The graph is the real one and so is DVC; the stages are stand-ins that write what they are asked for. `augment`
writes what the real stage decides.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]

STAND_IN = """
import pathlib, sys
from ruamel.yaml import YAML
name = sys.argv[2].rpartition(".")[2]
stage = YAML(typ="safe", pure=True).load(pathlib.Path("dvc.yaml").read_text())["stages"][name]
with open("log.txt", "a") as log:
    print(name, file=log)
text = "made"
if name == "augment":
    from graft.augment.choice import choose
    from graft.augment.domains import allowed, check_domain
    from graft.config import load_params
    settings = load_params(pathlib.Path("params.yaml")).augment
    check_domain(choose(settings), settings.domain)
    text = str(choose(settings).as_json())
    pathlib.Path("reports/augmentation").mkdir(parents=True, exist_ok=True)
    pathlib.Path("reports/augmentation/allowed.json").write_text(str(allowed(settings.domain)))
files = {"reports/augmentation": "policy.json", "reports/selection": "winner.json", "reports/tuning": "best.json"}
files |= {"reports/evaluation": "metrics.json"}
for out in stage["outs"]:
    path = pathlib.Path(next(iter(out)) if isinstance(out, dict) else out)
    if path.suffix:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    else:
        path.mkdir(parents=True, exist_ok=True)
        (path / files.get(str(path), "file.txt")).write_text(text)
"""


class Project:
    """The shipped graph with stand-ins for its stages."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        shutil.copy(ROOT / "dvc.yaml", root)
        shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
        python = root / ".venv/bin/python"
        python.parent.mkdir(parents=True)
        (root / "stand_in.py").write_text(STAND_IN)
        # Not in the first line of a script: an interpreter's path with a space in it cannot stand there.
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{root}/stand_in.py" "$@"\n')
        python.chmod(python.stat().st_mode | stat.S_IXUSR)
        (root / "data/source/weights").mkdir(parents=True)
        (root / "data/source/weights/note.txt").write_text("x")
        for folder in ("data/source", "data/source/pretraining"):
            (root / folder).mkdir(parents=True, exist_ok=True)
            for name in ("images", "table"):
                (root / folder / name).write_text("x")
        self.values: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text())
        assert self.dvc("init", "--no-scm", "--quiet").returncode == 0

    def dvc(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DVC_NO_ANALYTICS": "1", "PYTHONPATH": str(self.root / "src")}
        command = [sys.executable, "-m", "dvc", *words]
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)

    def repro(self, **augment: Any) -> tuple[set[str], int]:
        """Set keys of `augment`, reproduce, and name the stages that ran."""
        self.values["augment"].update(augment)
        with (self.root / "params.yaml").open("w", encoding="utf-8") as file:
            YAML(typ="safe").dump(self.values, file)
        log = self.root / "log.txt"
        log.unlink(missing_ok=True)
        done = self.dvc("repro")
        return set(log.read_text().split()) if log.exists() else set(), done.returncode


def test_what_a_change_of_the_augmentation_runs_again(tmp_path: Path) -> None:
    project = Project(tmp_path / "project")
    ran, code = project.repro()
    assert code == 0 and {"augment", "select", "finetune", "evaluate", "package"} <= ran
    assert project.repro() == (set(), 0)
    # Written otherwise, it is the same policy. (`evaluate` prints all settings in its report.)
    assert project.repro(policy=["digits"]) == ({"augment", "evaluate"}, 0)
    assert project.repro(policy=[{"digits": {"rotation": 12}}]) == ({"augment", "evaluate"}, 0)
    # The domain decides which policies the search may try; it found the same, so nothing is trained again.
    assert project.repro(domain="natural") == ({"augment", "tune", "evaluate"}, 0)
    assert project.repro(preview_images=3) == ({"augment", "evaluate"}, 0)
    # What training sees changes: it is done again, and selection is not.
    assert project.repro(policy=["digits", "mixup"]) == ({"augment", "tune", "finetune", "evaluate"}, 0)
    assert project.repro(policy=["digits", {"mixup": {"alpha": 0.5}}]) == (
        {"augment", "tune", "finetune", "evaluate"},
        0,
    )
    # A policy that the domain forbids stops there, although the graph has other branches.
    ran, code = project.repro(policy="light", domain="digits")
    assert code != 0 and "finetune" not in ran and "evaluate" not in ran
