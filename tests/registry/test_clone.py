"""A second clone gets the promoted model by `dvc pull`, without training, and serves it; the registry knows it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from graft.core.workspace import Workspace
from graft.inference.package import version_of
from graft.inference.predictor import Predictor
from graft.registry.history import history
from graft.registry.promote import promote
from graft.registry.publish import publish
from graft.registry.rollback import rollback
from tests.conftest import picture
from tests.registry.conftest import Project, dvc, git

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def published(project: Project) -> Project:
    """Two promoted models at the remote, the second in use."""
    project.package(0)
    promote(project.workspace)
    project.package(1, 0.1)
    promote(project.workspace)
    publish(project.workspace, str(project.root.parent / "remote"))
    git(project.root, "commit", "-qm", "remote", ".dvc/config")
    return project


def test_a_second_clone_pulls_and_answers_alike(
    published: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "a.png"
    picture(0).save(image)
    other = tmp_path / "second clone"
    git(tmp_path, "clone", "-q", str(published.root), str(other))
    assert not (other / "models" / "promoted").exists()
    dvc(other, "pull", "-q", "models/promoted.dvc")
    there, here = Workspace(other), published.workspace
    assert version_of(there.production_model) == version_of(here.production_model) == history(there)[-1].version
    assert (
        Predictor.load(there.production_model).predict([image])
        == Predictor.load(here.production_model).predict([image])
    ).all()
    # And it can go back, with nothing but what the remote has.
    for key, value in (("name", "C"), ("email", "c@d.e")):
        git(other, "config", f"user.{key}", value)
    rollback(there)
    assert version_of(there.production_model) == history(here)[0].version
    monkeypatch.chdir(other)
    done = subprocess.run(
        [sys.executable, "-m", "graft.cli.main", "history"], cwd=other, capture_output=True, text=True, check=True
    )
    assert "brought back" in done.stdout.splitlines()[0] and done.stdout.splitlines()[0].endswith("<- production")


def test_the_registry_of_artifacts_finds_each_version(published: Project, tmp_path: Path) -> None:
    first, second = history(published.workspace)
    for words, wanted in (
        ([], second),
        (["--rev", "v1.0.0"], first),
        (["--rev", "v2.0.0"], second),
        (["--stage", "production"], second),
    ):
        out = tmp_path / "got"
        shutil.rmtree(out, ignore_errors=True)
        dvc(tmp_path, "artifacts", "get", str(published.root), "birds", *words, "-o", str(out))
        assert version_of(out) == wanted.version


def test_the_graph_still_runs_beside_a_promoted_model(published: Project) -> None:
    ran = dvc(published.root, "repro").stdout
    assert "Running stage 'ingest'" in ran
    assert "Data and pipelines are up to date" in dvc(published.root, "repro").stdout
    rollback(published.workspace)
    assert "Data and pipelines are up to date" in dvc(published.root, "repro").stdout, "rolling back runs nothing"
