"""`publish` sends all that the project and its history need; `registry verify` reads it back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from graft.core.errors import VersionError
from graft.registry.promote import promote
from graft.registry.publish import publish
from graft.registry.rollback import rollback
from graft.registry.verify import verify
from tests.registry.conftest import Project, dvc, git
from tests.registry.test_rollback import bytes_of, damage


def objects(remote: Path) -> list[Path]:
    return sorted(path for path in remote.rglob("*") if path.is_file())


def largest(folder: Path) -> Path:
    return max(objects(folder), key=lambda path: path.stat().st_size)


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    return tmp_path / "remote"


@pytest.fixture
def ready(project: Project) -> Project:
    """A project whose stage has run and whose first model is promoted."""
    from dvc.repo import Repo

    with Repo(str(project.root)) as repo:
        repo.reproduce()
    project.package(0)
    promote(project.workspace)
    return project


def test_everything_arrives_and_the_address_becomes_the_default(ready: Project, remote: Path) -> None:
    done = publish(ready.workspace, str(remote))
    # data/raw's list and two files, x.parquet, the model's list and four files.
    assert (done.sent, len(objects(remote)), done.address) == (9, 9, str(remote))
    assert done.notes == (f"{remote} is DVC's default remote now: commit .dvc/config, so that other clones know it",)
    assert git(ready.root, "status", "--short", "--untracked-files=no").split() == ["M", ".dvc/config"]
    again = publish(ready.workspace)
    assert (again.sent, again.notes, again.address) == (0, (), str(remote))
    assert "Everything is up to date" in dvc(ready.root, "push").stdout, "DVC finds all that it looks for"


def test_models_of_the_history_are_sent_too(ready: Project, remote: Path) -> None:
    ready.package(1, 0.1)
    promote(ready.workspace)
    first = bytes_of(ready.trained[0])["model.safetensors"]
    publish(ready.workspace, str(remote))
    shutil.rmtree(ready.root / ".dvc" / "cache")
    rollback(ready.workspace)
    assert (ready.workspace.promoted / "model.safetensors").read_bytes() == first
    assert not (ready.root / "promoted-versions.dvc").exists()


def test_a_lost_model_of_the_history_does_not_keep_the_rest_from_being_sent(ready: Project, remote: Path) -> None:
    ready.package(1, 0.1)
    promote(ready.workspace)
    content = bytes_of(ready.trained[0])["model.safetensors"]
    next(file for file in ready.cache() if file.read_bytes() == content).unlink()
    publish(ready.workspace, str(remote))
    assert len(objects(remote)) == 9 + 3, "the other files of the lost model, without their list"
    with pytest.raises(VersionError, match=r"missing"):
        verify(ready.workspace)


def test_without_a_remote_it_says_how_to_name_one(ready: Project) -> None:
    with pytest.raises(VersionError, match="no remote is configured") as refused:
        publish(ready.workspace)
    assert "graft publish --to ADDRESS" in str(refused.value.remedy)
    assert len(verify(ready.workspace)) == 1, "the cache alone"


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("bad://x", "DVC cannot do this: .*bad"),
        ("{tmp}/not mounted/remote", "its folder's parent is not there"),
        ("remote", "would be lost with it"),
        ("{tmp}/file", "DVC cannot do this: .*Not a directory"),
    ],
)
def test_a_remote_that_cannot_be_used_is_refused_and_not_configured(
    ready: Project, tmp_path: Path, address: str, what: str
) -> None:
    (tmp_path / "file").write_text("a file where a folder has to be")
    with pytest.raises(VersionError, match=what):
        publish(ready.workspace, address.format(tmp=tmp_path))
    assert (ready.root / ".dvc" / "config").read_text() == "", "the next address can be right"


def test_a_named_address_beside_the_default_is_used_once(ready: Project, tmp_path: Path, remote: Path) -> None:
    publish(ready.workspace, str(remote))
    before = (ready.root / ".dvc" / "config").read_text()
    assert publish(ready.workspace, str(tmp_path / "other")).sent == 9
    assert (ready.root / ".dvc" / "config").read_text() == before
    assert len(objects(tmp_path / "other")) == 9


@pytest.mark.slow
def test_the_configured_remote_is_taken_by_its_name_or_by_default(ready: Project, tmp_path: Path) -> None:
    dvc(ready.root, "remote", "add", "-d", "-q", "team", str(tmp_path / "team"))
    assert publish(ready.workspace).address == str(tmp_path / "team")
    assert publish(ready.workspace, "team").sent == 0


def test_whole_objects_are_counted(ready: Project, remote: Path) -> None:
    publish(ready.workspace, str(remote))
    cache, at_remote = verify(ready.workspace)
    assert cache == "DVC's cache: 9 files read, every hash is right"
    assert at_remote == "the remote graft: 7 files read, every hash is right"


@pytest.mark.parametrize("place", ["cache", "remote"])
def test_a_damaged_object_is_found_though_dvc_calls_it_fine(ready: Project, remote: Path, place: str) -> None:
    publish(ready.workspace, str(remote))
    bad = largest(remote if place == "remote" else ready.root / ".dvc" / "cache")
    damage(bad)
    assert publish(ready.workspace).sent == 0
    with pytest.raises(VersionError) as refused:
        verify(ready.workspace)
    md5 = bad.parent.name + bad.name
    named = "models/promoted/model.safetensors" if place == "remote" else str(bad)
    assert f"{named} (md5 {md5}) is damaged" in refused.value.what.split("; ")
    assert refused.value.where == ("the remote graft" if place == "remote" else "DVC's cache")
    # The remedy is one.
    bad.unlink()
    if place == "remote":
        for file in remote.rglob("*.dir"):
            file.unlink()
        publish(ready.workspace)
    else:
        dvc(ready.root, "fetch")
    assert len(verify(ready.workspace)) == 2


def test_a_missing_object_at_the_remote_is_named(ready: Project, remote: Path) -> None:
    publish(ready.workspace, str(remote))
    largest(remote).unlink()
    with pytest.raises(VersionError, match=r"models/promoted/model\.safetensors \(md5 .*\) is missing"):
        verify(ready.workspace)
