"""DVC sees through the links of `locate`: what changed re-runs ingest, and where nothing changed nothing runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import picture, write_classes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# The two stages as dvc.yaml has them, without their dependencies on code.
STAGES = {
    "locate": {
        "cmd": f'"{sys.executable}" -m graft.pipeline.locate',
        "params": ["data.source", "zoo.candidates"],
        "outs": [{"data/.links/data.source.json": {"cache": False}}],
    },
    "ingest": {
        "cmd": f'"{sys.executable}" -m graft.pipeline.ingest',
        "params": ["data.source"],
        "deps": ["data/.links/data.source.json", "data/.links/data.source", "data/.links/data.source.table"],
        "outs": ["data/raw", "data/ingested.parquet"],
    },
    # It stands for `select`.
    "reads": {"cmd": "echo read > read.txt", "deps": ["data/.links/weights"], "outs": ["read.txt"]},
}


class Project:
    """A DVC project without git, with the two stages."""

    def __init__(self, root: Path, workspace_with: Callable[..., Path]) -> None:
        self.root, self.make = root, workspace_with
        with (root / "dvc.yaml").open("w", encoding="utf-8") as file:
            YAML(typ="safe").dump({"stages": STAGES}, file)
        self.dvc("init", "--no-scm", "--quiet")

    def dvc(self, *words: str) -> str:
        environment = {**os.environ, "DVC_NO_ANALYTICS": "1"}
        command = [sys.executable, "-m", "dvc", *words]
        done = subprocess.run(command, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def repro(self, source: str | None = None, **sections: object) -> set[str]:
        """Change data.source or sections if given, reproduce, and name the stages that had something to do."""
        if source is not None or sections:
            self.make(data={"source": source or "../images"}, **sections)
        said = self.dvc("repro")
        return {name for name in STAGES if f"Stage '{name}' didn't change" not in said}

    def taken_in(self) -> int:
        return sum(path.is_file() for path in (self.root / "data" / "raw").rglob("*"))


@pytest.fixture
def project(workspace_with: Callable[..., Path]) -> Project:
    return Project(workspace_with(data={"source": "../images"}), workspace_with)


def test_a_folder_that_gains_loses_or_changes_a_file_is_noticed(
    project: Project, make_classes: Callable[..., Path]
) -> None:
    folder = make_classes({"cat": 3, "dog": 3})
    modes = {path: path.stat().st_mode for path in folder.rglob("*.png")}
    assert project.repro() == {"locate", "ingest", "reads"}
    assert project.repro() == set()
    picture(900).save(folder / "cat/new.png")
    assert project.repro() == {"ingest"}
    assert project.taken_in() == 7
    picture(901).save(folder / "cat/new.png")
    assert project.repro() == {"ingest"}
    (folder / "cat/new.png").unlink()
    assert project.repro() == {"ingest"}
    assert project.taken_in() == 6
    assert project.repro() == set()
    # DVC wrote nothing through the link: no file went, and none became read-only.
    assert {path: path.stat().st_mode for path in folder.rglob("*") if path.is_file()} == modes


def test_sources_can_be_switched_back_and_forth(project: Project, make_classes: Callable[..., Path]) -> None:
    folder = make_classes({"cat": 3, "dog": 3})
    other = write_classes(folder.parent / "other images", {"cow": 2, "pig": 2}, seed=700)
    for source, count in (("../images", 6), (str(other), 4), ("digits", 1797), ("../images", 6), (str(other), 4)):
        assert "locate" in project.repro(source)
        assert project.taken_in() == count
        assert project.repro() == set()
    assert len(list(other.rglob("*.png"))) == 4


def test_a_table_and_its_images_are_watched(project: Project, make_classes: Callable[..., Path]) -> None:
    folder = make_classes({"cat": 3, "dog": 3})
    lines = ["path,label", *(f"images/{path.relative_to(folder)},{path.parent.name}" for path in folder.rglob("*.png"))]
    table = folder.parent / "table.csv"
    table.write_text("\n".join(lines[:-1]))
    project.repro("../table.csv")
    assert project.taken_in() == 5
    table.write_text("\n".join(lines))
    assert project.repro() == {"ingest"}
    assert project.taken_in() == 6
    picture(901).save(folder / "cat/cat_000.png")
    assert project.repro() == {"ingest"}
    assert project.repro() == set()


def test_a_weights_file_that_changes_is_noticed(project: Project, make_classes: Callable[..., Path]) -> None:
    folder = make_classes({"cat": 3, "dog": 3}).parent
    own = {"arch": "resnet18", "weights": "../own weights.pth"}
    (folder / "own weights.pth").write_bytes(b"one")
    assert project.repro(zoo={"candidates": [own]}) == {"locate", "ingest", "reads"}
    assert project.repro() == set()
    (folder / "own weights.pth").write_bytes(b"another")
    assert project.repro() == {"reads"}
    assert project.repro() == set()
    assert project.repro(zoo={"candidates": ["resnet18", own]}) == {"locate"}, "other candidates are none of its affair"
    assert project.repro(zoo={"candidates": ["resnet18"]}) == {"locate", "reads"}
    assert (folder / "own weights.pth").read_bytes() == b"another"


def test_links_that_were_lost_are_made_anew(project: Project, make_classes: Callable[..., Path]) -> None:
    make_classes({"cat": 3, "dog": 3})
    project.repro()
    shutil.rmtree(project.root / "data/.links")
    assert project.repro() == {"locate"}
    assert project.repro() == set()


def test_even_where_dvc_links_its_cache_the_users_files_stay_theirs(
    project: Project, make_classes: Callable[..., Path]
) -> None:
    folder = make_classes({"cat": 3, "dog": 3})
    project.dvc("config", "cache.type", "hardlink")
    project.repro()
    assert {(path.stat().st_nlink, path.stat().st_mode & 0o200) for path in folder.rglob("*.png")} == {(1, 0o200)}
