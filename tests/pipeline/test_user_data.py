"""Not one byte of the user's is lost by `dvc repro`: on every output of dvc.yaml, by name or merely put there."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.conftest import write_classes

ROOT = Path(__file__).parents[2]
STAGES: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
OUTS = {name: [next(iter(out)) for out in stage["outs"]] for name, stage in STAGES.items()}
PHOTOS = ("cat/holiday.jpg", "dog/holiday.jpg")

pytestmark = pytest.mark.timeout(600)


class Project:
    """The shipped project, with nothing made yet."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()
        for name in ("dvc.yaml", "params.yaml", ".dvcignore"):
            shutil.copy2(ROOT / name, root)
        shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        (root / ".venv").symlink_to(sys.prefix)
        assert self.dvc("init", "--no-scm", "--quiet").returncode == 0
        self.clean = {path.name for path in root.iterdir()} | {"data", "reports", "models"}

    def dvc(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dvc", *words]
        return subprocess.run(command, cwd=self.root, capture_output=True, text=True, check=False, timeout=300)

    def source(self, source: str, **sections: Any) -> None:
        values = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text(encoding="utf-8"))
        values["data"]["source"] = source
        for section, keys in sections.items():
            values[section].update(keys)
        with (self.root / "params.yaml").open("w", encoding="utf-8") as file:
            YAML(typ="safe").dump(values, file)

    def reset(self) -> None:
        for name in ("data", "reports", "models", "dvc.lock", ".graft"):
            path = self.root / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        self.source("digits")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("user data") / "project")


@pytest.fixture
def project(made: Project) -> Iterator[Project]:
    made.reset()
    yield made
    made.reset()


def put_photos(folder: Path) -> dict[Path, str]:
    """A user's only copies, and the hash of each."""
    for name in PHOTOS:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(64))
    return hashes(folder)


def hashes(folder: Path) -> dict[Path, str]:
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.name == "holiday.jpg"
    }


# Every stage runs by the same function (tests/test_contract.py).
@pytest.mark.parametrize("stage", ["locate", "ingest", "finetune"])
def test_what_was_merely_put_into_an_output_stays(project: Project, stage: str) -> None:
    """`dvc repro -s STAGE` runs none of the stages before it, so each one has to look after its own."""
    before: dict[Path, str] = {}
    for out in OUTS[stage]:
        before |= put_photos(project.root / out)
    for dep in STAGES[stage]["deps"]:
        path = project.root / dep
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("stands for what a stage before it makes")
    done = project.dvc("repro", "--single-item", stage)
    assert before == hashes(project.root)
    assert done.returncode != 0
    first = OUTS[stage][0]
    assert done.stderr.startswith(
        f"error: the stage '{stage}' replaces {first}, and graft did not write what lies there: "
        f"{first}/cat/holiday.jpg, "
    )
    assert (
        f"  where: {first}\n  remedy: move what is yours to a folder of its own, for instance data/mine, and name that "
        in (done.stderr)
    )


@pytest.mark.parametrize("out", ["data/raw", "models/finetuned", "data/.links/data.source.json"])
def test_a_source_that_is_an_output_is_refused_before_anything_is_deleted(project: Project, out: str) -> None:
    before = put_photos(project.root / out)
    project.source(out)
    done = project.dvc("repro")
    assert before == hashes(project.root)
    assert done.returncode != 0
    if out in OUTS["locate"]:  # which looks after its outputs before it looks at the source
        assert f"graft did not write what lies there: {out}/cat/holiday.jpg" in done.stderr
        return
    assert done.stderr.startswith(
        f"error: this lies in {out}, which graft writes and replaces\n  where: {out}\n"
        "  remedy: put what is yours into a folder of its own, for instance data/mine, and name that\n"
    )


def test_a_folder_beside_the_outputs_is_taken(project: Project) -> None:
    put_photos(project.root / "data/mine")
    project.source("data/mine")
    assert project.dvc("repro", "locate").returncode == 0
    project.source("data/mine", pretrain={"source": "data/pretraining"})
    put_photos(project.root / "data/pretraining")
    done = project.dvc("repro")
    assert "this lies in data/pretraining, which graft writes and replaces\n" in done.stderr


def test_images_added_to_what_was_taken_in_stay_until_they_are_moved(project: Project) -> None:
    """Where nothing else changed, `dvc repro` starts with the very stage that replaces them."""
    write_classes(project.root / "data/mine", {"cat": 2, "dog": 2})
    project.source("data/mine")
    assert project.dvc("repro", "ingest").returncode == 0
    photo = project.root / "data/raw/cat/holiday.jpg"
    photo.write_bytes(b"the only copy")
    changed = project.root / "data/raw/dog/dog_000.png"
    changed.write_bytes(b"cut by hand")
    done = project.dvc("repro", "ingest")
    assert (photo.read_bytes(), changed.read_bytes()) == (b"the only copy", b"cut by hand")
    assert (
        f"did not write what lies there: data/raw/cat/holiday.jpg, {changed.relative_to(project.root)}\n" in done.stderr
    )
    photo.rename(project.root / "holiday.jpg")
    changed.unlink()
    done = project.dvc("repro", "ingest")
    assert done.returncode == 0, done.stderr
    assert changed.is_file() and not photo.exists()
    (project.root / "holiday.jpg").unlink()


def test_what_dvc_brought_is_known_without_a_record(project: Project) -> None:
    """As in a clone after `dvc pull`: .graft is not there."""
    write_classes(project.root / "data/mine", {"cat": 2, "dog": 2})
    project.source("data/mine")
    assert project.dvc("repro", "ingest").returncode == 0
    shutil.rmtree(project.root / ".graft")
    shutil.rmtree(project.root / "data/raw")
    assert project.dvc("checkout", "data/raw").returncode == 0
    done = project.dvc("repro", "--force", "--single-item", "ingest")
    assert done.returncode == 0, done.stderr
    shutil.rmtree(project.root / ".graft")
    (project.root / "data/raw/cat/holiday.jpg").write_bytes(b"the only copy")
    done = project.dvc("repro", "--force", "--single-item", "ingest")
    assert "did not write what lies there: data/raw/cat/holiday.jpg\n" in done.stderr
