"""The project's own files agree with each other: Makefile, dependencies, lock, licence, telemetry."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def name_of(requirement: str) -> str:
    """The distribution's name in a requirement, in the index's normal form."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def declared() -> set[str]:
    project = PYPROJECT["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return {name_of(item) for items in lists for item in items} - {"graft"}


def locked() -> dict[str, str]:
    lines = [line.partition(";")[0].strip() for line in LOCK.splitlines() if re.match(r"[a-z0-9]", line)]
    return dict(line.split("==") for line in lines)


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_make_alone_lists_every_target() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, flags=re.MULTILINE)) - {"scm"}
    assert targets >= {"help", "demo", "test", "test-slow", "serve", "lint", "lock", "clean"}
    for target in targets:
        assert re.search(rf"^  {target} +\w", shown, flags=re.MULTILINE), f"`make help` does not explain {target}"


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_make_without_a_fitting_python_says_what_to_do(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    done = subprocess.run(["make", "install", "PYTHON="], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "error: no Python 3.11, 3.12 or 3.13 was found\n  remedy: install one" in done.stderr
    assert not (tmp_path / ".venv").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_make_serve_without_a_model_says_what_to_do(tmp_path: Path) -> None:
    installed = (tmp_path / ".venv" / ".installed", f"{tmp_path}\n")
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    installed[0].parent.mkdir()
    installed[0].write_text(installed[1])
    (tmp_path / ".git").mkdir()
    done = subprocess.run(["make", "serve"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "error: there is no packaged model\n  where: models/packaged\n  remedy: run `make demo`" in done.stderr


def test_every_dependency_is_explained() -> None:
    page = (ROOT / "docs/dependencies.md").read_text(encoding="utf-8")
    explained = {name_of(item) for item in re.findall(r"^\| `([^`]+)`", page, flags=re.MULTILINE)}
    assert declared() - explained == set(), "write in docs/dependencies.md what these are for"
    assert explained - declared() == set(), "these are explained but no longer asked for"


def test_every_dependency_is_locked_to_a_version_of_the_index() -> None:
    versions = locked()
    assert declared() - set(versions) == set(), "run `make lock`"
    assert versions["torch"] == "2.13.0"
    assert "torch==2.13.0\n" in LOCK
    assert [version for version in versions.values() if "+" in version] == [], "local versions are in no index"
    assert not re.search(r"file:|https?:|/home|/opt|/tmp", LOCK), "the lock names places of one machine"


def test_fastapi_stays_where_prefect_works() -> None:
    assert "fastapi<0.151" in PYPROJECT["project"]["optional-dependencies"]["flows"]
    assert tuple(int(part) for part in locked()["fastapi"].split(".")[:2]) < (0, 151)


def test_the_python_versions_that_are_promised() -> None:
    assert PYPROJECT["project"]["requires-python"] == ">=3.11,<3.14"
    assert "(3, 11) <= sys.version_info[:2] < (3, 14)" in MAKEFILE
    assert sys.version_info[:2] >= (3, 11)


def test_the_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_telemetry_is_off_before_any_tool_is_imported() -> None:
    names = ["PREFECT_SERVER_ANALYTICS_ENABLED", "DO_NOT_TRACK", "DVC_NO_ANALYTICS", "GX_ANALYTICS_ENABLED"]
    names.append("BENTOML_DO_NOT_TRACK")
    bare = {name: value for name, value in os.environ.items() if name not in names}
    code = f"import os, flows.pipeline; print(*[os.environ.get(name) for name in {names!r}])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=bare, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["false", "1", "1", "false", "True"]
    config = (ROOT / ".dvc" / "config").read_text()
    assert "analytics = false" in config
    assert "check_update = false" in config


def test_continuous_integration_runs_both_halves_of_the_tests() -> None:
    run = ROOT / ".ci" / "run"
    assert os.access(run, os.X_OK)
    assert re.findall(r"^make ([a-z-]+)$", run.read_text(), flags=re.MULTILINE) == ["test", "test-slow"]
    assert "set -euo pipefail" in run.read_text()
