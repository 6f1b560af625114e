"""DVC's own experiments, at once and queued, on a toy project: graft needs none of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows.experiment import experiment
from tests.flows.toy import Toy, make_toy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def project(tmp_path: Path) -> Toy:
    """A toy in git, with a setting that its metric follows."""
    toy = make_toy(tmp_path / "toy project", "git")
    (toy.root / "params.yaml").write_text("rate: 1\n")
    (toy.root / "dvc.yaml").write_text(
        "stages:\n  one:\n    cmd: sh one.sh\n    deps: [one.sh]\n    params: [rate]\n"
        "    metrics:\n      - out.json:\n          cache: false\n"
    )
    (toy.root / "one.sh").write_text('sed "s/rate: \\(.*\\)/{\\"rate\\": \\1}/" params.yaml > out.json\n')
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run([*git, "add", "-A", "."], cwd=toy.root, check=True)
    subprocess.run([*git, "add", "-f", ".dvc/config"], cwd=toy.root, check=True)
    subprocess.run([*git, "commit", "-qm", "first"], cwd=toy.root, check=True)
    return toy


def dvc(toy: Toy, *arguments: str) -> str:
    # DVC starts its queue's worker as `dvc`, from the PATH.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    names = {
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b.c",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b.c",
    }
    done = subprocess.run(
        ["dvc", *arguments], cwd=toy.root, env={**os.environ, **names, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rates(toy: Toy) -> set[int]:
    """The metric of every experiment that has one."""
    found = set()
    for commit in json.loads(dvc(toy, "exp", "show", "--json")):
        for found_one in commit.get("experiments") or []:
            for revision in found_one["revs"]:
                metric = ((revision["data"] or {}).get("metrics") or {}).get("out.json") or {}
                if "data" in metric:
                    found.add(metric["data"]["rate"])
    return found


@pytest.mark.usefixtures("prefect_server")
def test_the_flow_runs_one_in_a_copy_and_leaves_the_project_as_it_is(
    project: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "a@b.c")
    before = {path: path.read_text() for path in (project.root / "params.yaml", project.root / "dvc.yaml")}
    state = experiment({"rate": 5}, str(project.root), return_state=True)
    assert state.is_completed(), state.message
    assert 5 in rates(project)
    assert {path: path.read_text() for path in before} == before
    assert not (project.root / "out.json").exists()
    assert experiment({"rate": "[broken"}, str(project.root), return_state=True).is_failed()
