"""`promote`: what is better comes into use, is kept, committed and tagged; all else changes nothing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from graft.errors import GraftError, VersionError, WeightsError
from graft.packaged import version_of
from graft.versions.promote import promote
from graft.versions.promotions import history
from graft.versions.rollback import rollback
from graft.versions.store import Store
from tests.versions.conftest import Project, dvc, git


def test_the_first_model_is_promoted_kept_committed_and_tagged(project: Project) -> None:
    (project.root / "other.txt").write_text("mine")
    git(project.root, "add", "other.txt")
    version = project.package(0)
    change = promote(project.workspace)
    assert change.sentence == f"birds:{version} (number 1) is in use now: no model was promoted before"
    assert change.notes == ("committed and tagged birds@v1.0.0: `git push --follow-tags` tells other clones",)
    assert version_of(project.workspace.in_use) == version and project.workspace.in_use == project.workspace.promoted
    assert git(project.root, "show", "--name-only", "--format=%s").splitlines() == [
        f"Promote birds:{version} (number 1)", "", "models/promoted.dvc", "models/promotions.json",
    ]  # fmt: skip
    assert git(project.root, "status", "--short") == "A  other.txt", (
        "what the user staged is neither lost nor committed"
    )
    assert git(project.root, "tag", "--points-at", "HEAD") == "birds@v1.0.0"
    (entry,) = history(project.workspace)
    assert f"md5: {entry.md5}" in (project.root / "models/promoted.dvc").read_text()
    assert (entry.data, entry.params, entry.commit) == ("d" * 64, "e" * 64, "f" * 40)
    assert entry.figures["accuracy_ci95"] == [0.87, 0.93] and entry.difference is None
    assert len(project.cache()) == 1 + len(list(project.workspace.promoted.iterdir()))


@pytest.mark.slow
def test_dvc_agrees_with_what_was_written(project: Project) -> None:
    project.package(0)
    promote(project.workspace)
    assert json.loads(dvc(project.root, "status", "--json", "models/promoted.dvc").stdout) == {}
    before = (project.root / "models/promoted.dvc").read_text()
    dvc(project.root, "add", "models/promoted")
    assert (project.root / "models/promoted.dvc").read_text() == before


@pytest.mark.slow
def test_files_that_a_service_may_be_reading_are_not_linked_to_the_cache_anew(project: Project) -> None:
    dvc(project.root, "config", "cache.type", "hardlink")
    project.package(0)
    promote(project.workspace)
    assert {file.stat().st_nlink for file in project.workspace.promoted.iterdir()} == {1}


def test_settings_and_the_lock_are_committed_with_it(project: Project) -> None:
    (project.root / "params.yaml").write_text("package:\n  name: birds\nseed: 1\n")
    (project.root / "dvc.lock").write_text("schema: '2.0'\n")
    project.package(0)
    promote(project.workspace)
    committed = git(project.root, "show", "--name-only", "--format=").splitlines()
    assert committed == ["dvc.lock", "models/promoted.dvc", "models/promotions.json", "params.yaml"]


@pytest.mark.parametrize(
    ("difference", "promoted", "said"),
    [
        (0.004, True, "accuracy +0.0040 (95%: -0.0060 to +0.0140) against the model in use"),
        (0.0, False, "it is not better than the model in use: accuracy +0.0000 (95%: -0.0100 to +0.0100) on the same"),
        (-0.02, False, "it is not better than the model in use: accuracy -0.0200"),
        (None, False, "it cannot be compared with the model in use: it knows other classes"),
    ],
)
def test_only_a_better_model_is_promoted(project: Project, difference: float | None, promoted: bool, said: str) -> None:
    first = project.package(0)
    promote(project.workspace)
    second = project.package(1, difference, reason=None if difference is not None else "it knows other classes")
    change = promote(project.workspace)
    assert (change.promotion is not None) is promoted and said in change.sentence
    assert version_of(project.workspace.promoted) == (second if promoted else first)
    assert len(history(project.workspace)) == 1 + promoted
    if not promoted:
        assert "`graft promote --anyway`" in change.sentence
        assert promote(project.workspace, anyway=True).promotion is not None
        assert version_of(project.workspace.promoted) == second


def test_better_is_meant_by_the_metric_that_selection_goes_by(project: Project) -> None:
    """Accuracy fell by a point, and log loss, which was asked for, is smaller."""
    project.package(0)
    promote(project.workspace)
    project.package(1, -0.01, metric="log_loss", gain=0.2, gain_ci95=[0.1, 0.3])
    change = promote(project.workspace)
    assert change.promotion is not None
    assert "log_loss +0.2000 (95%: +0.1000 to +0.3000) (above 0: better) against the model in use" in change.sentence


def test_promoting_what_is_in_use_does_nothing_and_says_so(project: Project) -> None:
    version = project.package(0)
    promote(project.workspace)
    commit = git(project.root, "rev-parse", "HEAD")
    change = promote(project.workspace, anyway=True)
    assert (change.promotion, change.sentence) == (None, f"birds:{version} (number 1) is in use already")
    assert git(project.root, "rev-parse", "HEAD") == commit


def test_a_comparison_with_another_model_is_none(project: Project) -> None:
    in_use = project.package(0)
    promote(project.workspace)
    project.package(1, 0.1, version="0123456789ab")
    with pytest.raises(VersionError) as refused:
        promote(project.workspace)
    assert refused.value.what == (
        f"the packaged model was compared with 0123456789ab, and the model in use is {in_use}"
    )
    assert "dvc repro --force --single-item evaluate" in str(refused.value.remedy)


def test_a_model_that_was_taken_back_is_not_promoted_by_the_next_nightly_run(project: Project) -> None:
    first = project.package(0)
    promote(project.workspace)
    second = project.package(1, 0.1)
    promote(project.workspace)
    rollback(project.workspace)
    project.package(1, 0.1)
    change = promote(project.workspace)
    assert change.promotion is None and "somebody rolled back from this model" in change.sentence
    assert version_of(project.workspace.promoted) == first
    promote(project.workspace, anyway=True)
    assert version_of(project.workspace.promoted) == second


def test_without_git_it_works_and_says_that_there_is_no_tag(new_project: Callable[..., Project]) -> None:
    project = new_project("none")
    project.package(0)
    change = promote(project.workspace)
    assert change.notes == ("there is no git checkout here, so there is no commit and no tag",)
    assert change.promotion is not None and change.promotion.tag is None
    assert (project.root / "models/promoted.dvc").exists()


def test_in_a_folder_of_a_larger_checkout_the_tag_names_the_folder(
    new_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = new_project("none", "larger/vision")
    git(tmp_path / "larger", "init", "-q", ".")
    for key, value in (("name", "A"), ("email", "a@b.c")):
        git(tmp_path / "larger", "config", f"user.{key}", value)
    project.package(0)
    assert promote(project.workspace).notes[0].startswith("there is no git checkout"), (
        "the project is none of its files"
    )
    git(tmp_path / "larger", "add", "vision/dvc.yaml")
    project.package(1, 0.1)
    change = promote(project.workspace)
    assert change.promotion is not None and change.promotion.tag == "vision=birds@v2.0.0"
    assert git(tmp_path / "larger", "tag") == "vision=birds@v2.0.0"


def test_a_tag_of_another_branch_is_left_and_told_and_the_promotion_is_committed_all_the_same(project: Project) -> None:
    git(project.root, "branch", "other")
    project.package(0)
    promote(project.workspace)
    tagged = git(project.root, "rev-parse", "birds@v1.0.0^{commit}")
    git(project.root, "checkout", "-q", "other")
    version = project.package(1)
    change = promote(project.workspace)
    assert change.notes == ("warning: committed, but not tagged: another commit has the tag birds@v1.0.0 already",)
    assert git(project.root, "log", "-1", "--format=%s") == f"Promote birds:{version} (number 1)"
    assert git(project.root, "status", "--short") == ""
    assert git(project.root, "rev-parse", "birds@v1.0.0^{commit}") == tagged
    assert promote(project.workspace).notes == ()


def test_git_that_cannot_commit_is_refused_before_anything_changes(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nobody"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    git(project.root, "config", "user.useConfigOnly", "true")
    git(project.root, "config", "--unset", "user.email")
    project.package(0)
    with pytest.raises(VersionError, match="git does not know who you are") as refused:
        promote(project.workspace)
    assert refused.value.remedy == "git config user.name NAME && git config user.email ADDRESS"
    assert not project.workspace.promoted.exists() and not project.workspace.promotions.exists()


@pytest.mark.parametrize("step", ["track", "record", "commit", "tag"])
def test_broken_off_anywhere_it_is_finished_by_running_again(
    project: Project, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a kill could hit: after each step, the next one raises."""
    places = {
        "track": "graft.versions.store.Store.track",
        "record": "graft.versions.promote.record",
        "commit": "graft.versions.checkout.Checkout.commit",
        "tag": "graft.versions.checkout.Checkout.tag",
    }

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    project.package(0)
    promote(project.workspace)
    version = project.package(1, 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(places[step], killed)
        with pytest.raises(KeyboardInterrupt):
            promote(project.workspace)
    promote(project.workspace)
    assert [item.version for item in history(project.workspace)][1:] == [version]
    assert git(project.root, "tag").split() == ["birds@v1.0.0", "birds@v2.0.0"]
    assert git(project.root, "status", "--short") == ""
    assert version_of(project.workspace.promoted) == version


def test_a_cache_that_cannot_be_written_leaves_the_model_in_use(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = project.package(0)
    promote(project.workspace)
    before = (project.root / "models/promoted.dvc").read_text()
    project.package(1, 0.1)

    def full(self: Store, folder: Path) -> str:
        raise self.cache.trouble(OSError(28, "No space left on device"))

    monkeypatch.setattr(Store, "keep", full)
    with pytest.raises(GraftError, match=r"DVC's cache cannot be used: .*No space left on device"):
        promote(project.workspace)
    assert version_of(project.workspace.promoted) == first
    assert (project.root / "models/promoted.dvc").read_text() == before and len(history(project.workspace)) == 1
    assert [path.name for path in project.workspace.promoted.parent.glob(".promoted*")] == []


def test_nothing_packaged_and_a_damaged_package_are_refused(project: Project) -> None:
    with pytest.raises(WeightsError, match="no model was packaged here"):
        promote(project.workspace)
    project.package(0)
    with (project.workspace.packaged / "model.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(WeightsError, match="their sha256 differs"):
        promote(project.workspace)
    assert not project.workspace.promoted.exists()


def test_a_folder_without_dvc_is_refused(project: Project) -> None:
    project.package(0)
    subprocess.run(["rm", "-r", str(project.root / ".dvc")], check=True)
    with pytest.raises(VersionError, match="this is no DVC project"):
        promote(project.workspace)


def test_damaged_and_merged_histories_are_named(project: Project) -> None:
    project.package(0)
    promote(project.workspace)
    text = project.workspace.promotions.read_text()
    project.workspace.promotions.write_text(text[:-20])
    with pytest.raises(VersionError, match="the history of promoted models is damaged"):
        history(project.workspace)
    project.workspace.promotions.write_text(json.dumps(json.loads(text) * 2))
    with pytest.raises(VersionError, match="two histories were merged"):
        history(project.workspace)
