"""`rollback`: byte for byte what was promoted, from the cache or the remote; nothing damaged is put into use."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.core.errors import VersionError
from graft.inference.package import version_of
from graft.registry.history import Promotion, history, rollback_target, rolled_back
from graft.registry.promote import promote
from graft.registry.publish import publish
from graft.registry.rollback import rollback
from tests.registry.conftest import Project, git


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def twice(project: Project) -> Project:
    """A project with two models promoted, the second in use; ``first`` is what the first one's files were."""
    project.package(0)
    promote(project.workspace)
    shutil.copytree(project.workspace.promoted, project.root.parent / "first")
    project.package(1, 0.1)
    promote(project.workspace)
    return project


def first_of(project: Project) -> dict[str, bytes]:
    return bytes_of(project.root.parent / "first")


def damage(path: Path) -> None:
    """PromotionResult one byte and leave the rest as DVC knows it: size and protection."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(0o444)


def test_the_previous_model_is_back_byte_for_byte(twice: Project) -> None:
    first, second = history(twice.workspace)
    change = rollback(twice.workspace)
    assert bytes_of(twice.workspace.promoted) == first_of(twice)
    entry = history(twice.workspace)[-1]
    assert change.promotion == entry
    assert (entry.number, entry.action, entry.version, entry.replaced) == (3, "rollback", first.version, second.version)
    assert entry.figures == first.figures and entry.md5 == first.md5
    assert git(twice.root, "log", "-1", "--format=%s") == f"Rollback birds:{first.version} (number 3)"
    assert entry.tag == first.tag == "birds@v1.0.0"
    tags = git(twice.root, "tag", "--points-at", "birds@v1.0.0^{commit}").split()
    assert tags == ["birds#production#1", "birds#production#3", "birds@v1.0.0"]
    assert (twice.root / "models/promoted.dvc").read_text() == git(
        twice.root, "show", "birds@v1.0.0:models/promoted.dvc"
    ) + "\n"


def test_to_a_number_and_what_there_is_not(twice: Project) -> None:
    for number, what in ((0, "there is no promoted model number 0"), (3, "there is no promoted model number 3")):
        with pytest.raises(VersionError, match=what):
            rollback(twice.workspace, number)
    with pytest.raises(VersionError, match="number 2 is the production model already"):
        rollback(twice.workspace, 2)
    rollback(twice.workspace, 1)
    assert bytes_of(twice.workspace.promoted) == first_of(twice)
    with pytest.raises(VersionError, match="there is no earlier model to go back to"):
        rollback(twice.workspace)
    rollback(twice.workspace, 2)
    assert version_of(twice.workspace.promoted) == history(twice.workspace)[1].version


def test_without_any_history_there_is_nothing_to_go_back_to(project: Project) -> None:
    with pytest.raises(VersionError, match="no model was ever promoted"):
        rollback(project.workspace)


def test_what_the_cache_has_lost_comes_from_the_remote(twice: Project, tmp_path: Path) -> None:
    publish(twice.workspace, str(tmp_path / "remote"))
    shutil.rmtree(twice.root / ".dvc" / "cache")
    rollback(twice.workspace)
    assert bytes_of(twice.workspace.promoted) == first_of(twice)


def refused_rollback(project: Project) -> VersionError:
    """The refusal; models/promoted, its pointer and the history are as they were."""
    in_use, pointer = bytes_of(project.workspace.promoted), project.workspace.promoted_pointer.read_text()
    with pytest.raises(VersionError) as refused:
        rollback(project.workspace)
    assert bytes_of(project.workspace.promoted) == in_use and len(history(project.workspace)) == 2
    assert project.workspace.promoted_pointer.read_text() == pointer
    return refused.value


@pytest.mark.parametrize("name", ["model.safetensors", "model.json", "package.json"])
def test_a_damaged_object_in_the_cache_is_found_though_dvc_calls_it_fine(twice: Project, name: str) -> None:
    damage(next(file for file in twice.cache() if file.read_bytes() == first_of(twice)[name]))
    error = refused_rollback(twice)
    assert error.what.endswith(f"cannot be brought back from DVC's cache or the remote: {name} is damaged")
    assert "graft registry verify" in str(error.remedy)


def test_a_model_that_is_nowhere_is_named(twice: Project) -> None:
    next(file for file in twice.cache() if file.read_bytes() == first_of(twice)["model.safetensors"]).unlink()
    assert refused_rollback(twice).what.endswith("the remote: model.safetensors is missing")
    shutil.rmtree(twice.root / ".dvc" / "cache")
    shutil.rmtree(twice.root.parent / "site")  # where DVC remembers lists of files
    assert refused_rollback(twice).what.endswith("the remote: the list of files is missing")


def test_without_git_too(new_project: Callable[..., Project]) -> None:
    project = new_project("none")
    first = project.package(0)
    promote(project.workspace)
    project.package(1, 0.1)
    promote(project.workspace)
    change = rollback(project.workspace)
    assert change.notes == ("there is no git checkout here, so there is no commit and no tag",)
    assert version_of(project.workspace.promoted) == first


def entries(steps: list[tuple[str, str]]) -> list[Promotion]:
    found: list[Promotion] = []
    for number, (action, version) in enumerate(steps, 1):
        replaced = found[-1].version if found else None
        found.append(Promotion(number, action, "now", "birds", version, "md5", replaced))  # type: ignore[arg-type]
    return found


def test_going_back_again_goes_further_back() -> None:
    past = entries([("promote", "a"), ("promote", "b"), ("promote", "c"), ("rollback", "b")])
    assert rollback_target(past, None, Path()).version == "a"
    assert set(rolled_back(past)) == {"c"}


@given(st.lists(st.tuples(st.sampled_from(["promote", "rollback"]), st.sampled_from("abc")), min_size=1))
def test_nobody_goes_back_to_what_is_in_use_or_was_taken_back(steps: list[tuple[str, str]]) -> None:
    past = entries(steps)
    assert past[-1].version not in rolled_back(past), "the production model is never one that was taken back"
    try:
        found = rollback_target(past, None, Path())
    except VersionError:
        assert {item.version for item in past} <= {past[-1].version, *rolled_back(past)}
    else:
        assert found.version != past[-1].version and found.version not in rolled_back(past)
