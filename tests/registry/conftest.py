"""A small project with models to promote: with git or without, a DVC cache of its own, no training."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from graft.core.workspace import Workspace
from graft.inference.package import write_package
from graft.registry.history import history
from tests.serving.conftest import finetune

ROOT = Path(__file__).parents[2]
DVC_YAML = """\
artifacts:
  ${package.name}:
    path: models/promoted
    type: model
stages:
  ingest:
    cmd: mkdir -p data/raw/a data/raw/b && echo one > data/raw/a/1 && echo two > data/raw/b/2 && echo 3 > data/x.parquet
    deps: [params.yaml]
    outs: [data/raw, data/x.parquet]
"""
ORIGIN = {"data": "d" * 64, "params": "e" * 64, "commit": "f" * 40}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four models with weights of their own; read only."""
    folders = [tmp_path_factory.mktemp("trained") / str(seed) for seed in range(4)]
    for seed, folder in enumerate(folders):
        finetune(folder, seed=seed)
    return folders


def git(root: Path, *words: str) -> str:
    """What git says."""
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()


def dvc(root: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """`dvc ...` as a user types it."""
    command = [sys.executable, "-m", "dvc", *words]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=check)


@dataclass(frozen=True)
class Project:
    """A project's folder and models to package in it."""

    workspace: Workspace
    trained: list[Path]

    @property
    def root(self) -> Path:
        return self.workspace.root

    def package(self, number: int, difference: float | None = None, **production: Any) -> str:
        """Package a model as the pipeline does, ``difference`` better than the production model; return its version."""
        past = history(self.workspace)
        metrics: dict[str, Any] = {"accuracy": 0.9, "accuracy_ci95": [0.87, 0.93], "n_test": 400, "size_mb": 1.4}
        if past:
            low_high = None if difference is None else [difference - 0.01, difference + 0.01]
            found = {"version": past[-1].version, "difference": difference, "difference_ci95": low_high}
            metrics["production"] = {**found, "p_value": 0.03, "reason": None, **production}
        return write_package(self.trained[number], self.workspace.packaged, "birds", metrics, [], origin=ORIGIN).version

    def cache(self) -> list[Path]:
        """The objects in DVC's cache."""
        return sorted(file for file in (self.root / ".dvc" / "cache").rglob("*") if file.is_file())


def lay(root: Path, trained: list[Path], scm: str) -> Project:
    """Lay a project in ``root``; ``scm`` is ``git`` or ``none``. Its one stage has run."""
    root.mkdir(parents=True)
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "params.yaml").write_text("package:\n  name: birds\n")
    (root / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    (root / ".dvc").mkdir()
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (root / ".dvc" / "config").write_text("" if scm == "git" else "[core]\n    no_scm = true\n")
    if scm == "git":
        git(root, "init", "-q", "-b", "main", ".")
        git(root, "config", "user.name", "A B")
        git(root, "config", "user.email", "a@b.c")
    return Project(Workspace(root), trained)


@pytest.fixture
def new_project(tmp_path: Path, trained: list[Path], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Project]:
    """Make a project, the current folder."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))

    def make(scm: str = "git", name: str = "a project") -> Project:
        project = lay(tmp_path / name, trained, scm)
        if scm == "git":
            git(project.root, "add", "-A")
            git(project.root, "commit", "-qm", "start")
        monkeypatch.chdir(project.root)
        return project

    return make


@pytest.fixture
def project(new_project: Callable[..., Project]) -> Project:
    """A project in git."""
    return new_project()
