"""`publish` to a folder: everything arrives and is read back; what is damaged, lost or broken off is found."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from graft.errors import VersionError
from graft.versions.objects import Objects
from graft.versions.promote import promote
from graft.versions.publish import publish
from graft.versions.remotes import own_folder
from graft.versions.rollback import rollback
from tests.versions.conftest import Project, dvc, git
from tests.versions.test_rollback import bytes_of, damage
from tests.waiting import until


def objects(remote: Path) -> list[Path]:
    return sorted(path for path in remote.rglob("*") if path.is_file())


@pytest.fixture
def ready(project: Project) -> Project:
    """A project whose stage has run and whose first model is promoted."""
    from dvc.repo import Repo

    with Repo(str(project.root)) as repo:
        repo.reproduce()
    project.package(0)
    promote(project.workspace)
    return project


def test_everything_arrives_and_is_read_back(ready: Project, tmp_path: Path) -> None:
    done = publish(ready.workspace)
    # data/raw's list and two files, x.parquet, the model's list and four files.
    assert (done.verified, done.sent, done.mended, done.restored) == (9, 9, 0, 0)
    assert len(objects(tmp_path / "remote")) == 9
    assert done.address == str(tmp_path / "remote")
    assert done.notes[0] == f"{tmp_path / 'remote'} is the default DVC remote now (.dvc/config)"
    assert git(ready.root, "show", "--name-only", "--format=%s").splitlines()[2:] == [".dvc/config"]
    again = publish(ready.workspace)
    assert (again.verified, again.sent, again.notes) == (9, 0, ())
    assert "Everything is up to date" in dvc(ready.root, "push").stdout, "DVC finds all that it looks for"


def test_an_address_of_no_known_kind_is_refused_and_not_configured(project: Project) -> None:
    config = (project.root / ".dvc" / "config").read_bytes()
    with pytest.raises(VersionError) as caught:
        publish(project.workspace, "bad://x")
    assert caught.value.message().endswith(
        "\n  where: bad://x\n"
        "  remedy: name a folder, or an address such as s3://bucket/path, ssh://host/path or https://host/path"
    )
    assert (project.root / ".dvc" / "config").read_bytes() == config


def test_models_of_the_history_are_sent_too(ready: Project) -> None:
    ready.package(1, 0.1)
    promote(ready.workspace)
    first = bytes_of(ready.trained[0])["model.safetensors"]
    publish(ready.workspace)
    shutil.rmtree(ready.root / ".dvc" / "cache")
    rollback(ready.workspace)
    assert (ready.workspace.promoted / "model.safetensors").read_bytes() == first


@pytest.mark.slow
def test_a_damaged_object_at_the_remote_is_sent_again(ready: Project, tmp_path: Path) -> None:
    publish(ready.workspace)
    bad = max(objects(tmp_path / "remote"), key=lambda path: path.stat().st_size)
    good = bad.read_bytes()
    damage(bad)
    assert "Everything is up to date" in dvc(ready.root, "push").stdout, "DVC does not look into it"
    done = publish(ready.workspace)
    assert (done.mended, done.sent) == (1, 0) and bad.read_bytes() == good
    assert "1 were damaged there and are sent again" in "\n".join(done.lines())


def test_a_lost_object_at_the_remote_is_sent_again(ready: Project, tmp_path: Path) -> None:
    publish(ready.workspace)
    objects(tmp_path / "remote")[3].unlink()
    assert publish(ready.workspace).sent == 1 and len(objects(tmp_path / "remote")) == 9


@pytest.mark.slow
def test_a_damaged_object_in_the_cache_is_not_sent_but_named(ready: Project, tmp_path: Path) -> None:
    bad = max(ready.cache(), key=lambda path: path.stat().st_size)
    damage(bad)
    with pytest.raises(VersionError) as refused:
        publish(ready.workspace)
    assert refused.value.what == (
        "models/promoted/model.safetensors: damaged in DVC's cache, and missing at the remote"
    )
    assert str(refused.value.where).startswith(str(bad))
    assert objects(tmp_path / "remote") == []
    # The remedy is one.
    bad.unlink()
    dvc(ready.root, "commit", "--force", "-q")
    assert publish(ready.workspace).sent == 9


def test_a_damaged_object_in_the_cache_is_taken_from_the_remote(ready: Project) -> None:
    publish(ready.workspace)
    bad = max(ready.cache(), key=lambda path: path.stat().st_size)
    good = bad.read_bytes()
    damage(bad)
    done = publish(ready.workspace)
    assert done.restored == 1 and bad.read_bytes() == good


def test_a_lost_model_of_the_history_is_told_and_the_rest_is_sent(ready: Project) -> None:
    ready.package(1, 0.1)
    promote(ready.workspace)
    for name in ("model.json", "model.safetensors"):
        content = (ready.trained[0] / name).read_bytes()
        next(file for file in ready.cache() if file.read_bytes() == content).unlink()
    with pytest.raises(VersionError, match=r"models/promoted of birds:.* missing in DVC's cache"):
        publish(ready.workspace)


def test_a_remote_that_is_not_there_is_refused(ready: Project, tmp_path: Path) -> None:
    with pytest.raises(VersionError, match="its folder's parent is not there") as refused:
        publish(ready.workspace, str(tmp_path / "not mounted" / "remote"))
    assert refused.value.where == str(tmp_path / "not mounted" / "remote")
    assert (ready.root / ".dvc" / "config").read_text() == "", "nothing was set up"


def test_a_remote_inside_the_project_is_refused(ready: Project) -> None:
    with pytest.raises(VersionError, match="would be lost with it"):
        publish(ready.workspace, "remote")


def test_a_remote_that_cannot_be_written_is_named(ready: Project, tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    (tmp_path / "remote" / "files").write_text("a file where a folder has to be")
    commit = git(ready.root, "rev-parse", "HEAD")
    with pytest.raises(VersionError, match="the remote cannot be used") as refused:
        publish(ready.workspace)
    assert refused.value.where == str(tmp_path / "remote")
    assert (ready.root / ".dvc" / "config").read_text() == "", "nothing was set up: the next address can be right"
    assert git(ready.root, "rev-parse", "HEAD") == commit


def test_broken_off_after_the_first_object_it_is_the_default_all_the_same(
    ready: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, taken = Objects.take, []

    def break_off(self: Objects, source: Objects, oids: list[str]) -> None:
        taken.append(len(oids))
        if len(taken) == 2:
            raise self.trouble(ConnectionError("cut off"))
        take(self, source, oids)

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "take", break_off)
        with pytest.raises(VersionError, match="cut off"):
            publish(ready.workspace, str(tmp_path / "other"))
    assert taken == [1, 8]
    done = publish(ready.workspace)
    assert (done.address, done.sent) == (str(tmp_path / "other"), 8)


def test_a_named_address_beside_the_default_is_used_once(ready: Project, tmp_path: Path) -> None:
    publish(ready.workspace)
    before = (ready.root / ".dvc" / "config").read_text()
    assert publish(ready.workspace, str(tmp_path / "other")).sent == 9
    assert (ready.root / ".dvc" / "config").read_text() == before
    assert len(objects(tmp_path / "other")) == 9


@pytest.mark.slow
def test_the_configured_remote_is_taken_by_its_name_or_by_default(ready: Project, tmp_path: Path) -> None:
    dvc(ready.root, "remote", "add", "-d", "-q", "team", str(tmp_path / "team"))
    assert publish(ready.workspace).address == str(tmp_path / "team")
    assert publish(ready.workspace, "team").sent == 0
    assert not (tmp_path / "remote").exists()


def test_with_nothing_said_it_is_a_folder_of_the_users(
    ready: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRAFT_REMOTE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    done = publish(ready.workspace)
    assert Path(done.address) == own_folder(ready.workspace).resolve()
    assert Path(done.address).is_relative_to(tmp_path / "home" / "graft" / "remotes")


def test_an_address_that_dvc_cannot_write_is_refused_and_its_configuration_stays(
    ready: Project, tmp_path: Path
) -> None:
    config = ready.root / ".dvc" / "config"
    config.write_text("[core]\n    analytics = false\n")
    with pytest.raises(VersionError, match="other letters than ASCII's") as refused:
        publish(ready.workspace, str(tmp_path / "für alle"))
    assert refused.value.where == str(tmp_path / "für alle")
    assert config.read_text() == "[core]\n    analytics = false\n"


def test_a_project_whose_name_has_other_letters_gets_a_folder_that_dvc_can_write(
    new_project: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = new_project(name="Vögel")
    project.package(0)
    promote(project.workspace)
    monkeypatch.delenv("GRAFT_REMOTE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    assert Path(publish(project.workspace).address).name.startswith("V_gel-")
    assert publish(project.workspace).sent == 0


def test_without_git(new_project: Callable[..., Project]) -> None:
    project = new_project("none")
    project.package(0)
    promote(project.workspace)
    assert publish(project.workspace).sent == 5


def killed_in_mid_push(project: Project, remote: Path) -> int:
    """Kill a process that publishes when some objects are there; returns how many are."""
    code = "import sys; from graft.versions.publish import publish; from graft.workspace import Workspace; "
    command = [sys.executable, "-c", code + "publish(Workspace(), sys.argv[1])", str(remote)]
    running = subprocess.Popen(command, cwd=project.root, start_new_session=True)
    try:
        until(lambda: len(objects(remote)) >= 8 or running.poll() is not None, 300)
    finally:
        running.kill()
    assert running.wait() in {0, -9}
    return len(objects(remote))


@pytest.mark.slow
def test_killed_in_mid_push_and_run_again_it_is_complete(ready: Project, tmp_path: Path) -> None:
    """300 MB on the way: the kill hits while they are copied, and no object is ever seen half."""
    (ready.root / "big").mkdir()
    for number in range(30):
        (ready.root / "big" / str(number)).write_bytes(bytes([number]) * 10_000_000)
    dvc(ready.root, "add", "-q", "big")
    for number in range(5):
        remote = tmp_path / f"remote {number}"
        there = killed_in_mid_push(ready, remote)
        if there < 40:
            break  # else a busy machine paused this process until all was there
        shutil.rmtree(remote)
    assert 0 < there < 40
    done = publish(ready.workspace, str(remote))
    assert done.verified == 9 + 31 and done.mended == 0 and done.sent >= 40 - there
