"""`promote`: the better model is put into production, committed and tagged; nothing of the user's is replaced."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from graft.core.errors import VersionError, WeightsError
from graft.core.workspace import Workspace
from graft.inference.package import version_of
from graft.registry.history import history
from graft.registry.promote import PromotionResult, promote
from graft.registry.rollback import rollback
from tests.registry.conftest import Project, dvc, git


def test_the_first_model_is_promoted_kept_committed_and_tagged(project: Project) -> None:
    (project.root / "other.txt").write_text("mine")
    git(project.root, "add", "other.txt")
    version = project.package(0)
    change = promote(project.workspace)
    assert change.sentence == f"birds:{version} (number 1) is in use now: no model was promoted before"
    assert change.notes == ("committed and tagged birds@v1.0.0: `git push --follow-tags` tells other clones",)
    assert (
        version_of(project.workspace.production_model) == version
        and project.workspace.production_model == project.workspace.promoted
    )
    assert git(project.root, "show", "--name-only", "--format=%s").splitlines() == [
        f"Promote birds:{version} (number 1)", "", "models/promoted.dvc",
    ]  # fmt: skip
    assert git(project.root, "status", "--short") == "A  other.txt", (
        "what the user staged is neither lost nor committed"
    )
    assert git(project.root, "tag", "--points-at", "HEAD").split() == ["birds#production#1", "birds@v1.0.0"]
    (entry,) = history(project.workspace)
    assert f"md5: {entry.md5}" in (project.root / "models/promoted.dvc").read_text()
    assert (entry.data, entry.params, entry.commit) == ("d" * 64, "e" * 64, "f" * 40)
    assert entry.figures["accuracy_ci95"] == [0.87, 0.93] and entry.difference is None
    assert len(project.cache()) == 1 + len(list(project.workspace.promoted.iterdir()))


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
    assert committed == ["dvc.lock", "models/promoted.dvc", "params.yaml"]


@pytest.mark.parametrize(
    ("difference", "promoted", "said"),
    [
        (0.004, True, "accuracy +0.0040 (95%: -0.0060 to +0.0140) against the production model"),
        (
            0.0,
            False,
            "it is not better than the production model: accuracy +0.0000 (95%: -0.0100 to +0.0100) on the same",
        ),
        (-0.02, False, "it is not better than the production model: accuracy -0.0200"),
        (None, False, "it cannot be compared with the production model: it knows other classes"),
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


NOT_KNOWN = "it is not known yet whether transfer hurts, as package.gate asks"
HURTS = "transfer hurts: the control from scratch is better"


def ask_for_transfer(project: Project, said: object) -> None:
    """Have the gate ask, and the stage `evaluate` answer: None writes no answer, and text is written as it is."""
    gate = "package:\n  name: birds\n  gate:\n    refuse_if_transfer_hurts: true\n"
    (project.root / "params.yaml").write_text(gate)
    if said is not None:
        project.workspace.control.mkdir(parents=True, exist_ok=True)
        text = said if isinstance(said, str) else json.dumps(said)
        (project.workspace.control / "control.json").write_text(text)


@pytest.mark.parametrize(
    ("said", "objection"),
    [
        (None, NOT_KNOWN),
        ({"model": "0123456789ab", "verdict": "helps"}, NOT_KNOWN),
        ({"verdict": "helps"}, NOT_KNOWN),
        ("{", NOT_KNOWN),
        ("[1]", NOT_KNOWN),
        ({"verdict": "hurts"}, HURTS),
        ({"verdict": "undecided"}, ""),
        ({"verdict": "helps"}, ""),
        ({"verdict": None, "reason": "the task has no classes"}, ""),
    ],
    ids=["none", "of another", "of nobody", "cut short", "no mapping", "hurts", "undecided", "helps", "no classes"],
)
def test_where_the_gate_asks_a_model_that_transfer_hurts_or_may_hurt_is_not_promoted(
    project: Project, said: object, objection: str, request: pytest.FixtureRequest
) -> None:
    """Nor the first one; a person may all the same, and the model stays packaged."""
    version = project.package(0)
    if isinstance(said, dict) and "of nobody" not in request.node.name:
        said = {"model": version, **said}
    ask_for_transfer(project, said)
    change = promote(project.workspace)
    assert (change.promotion is None) is bool(objection)
    if objection:
        assert f"is not promoted: {objection}" in change.sentence and "`graft promote --anyway`" in change.sentence
        assert version_of(project.workspace.packaged) == version
        assert promote(project.workspace, anyway=True).promotion is not None


def test_where_the_gate_does_not_ask_nobody_waits_for_the_control(project: Project) -> None:
    version = project.package(0)
    ask_for_transfer(project, {"model": version, "verdict": "hurts"})
    (project.root / "params.yaml").write_text("package:\n  name: birds\n")
    assert promote(project.workspace).promotion is not None


def test_better_is_meant_by_the_metric_that_selection_goes_by(project: Project) -> None:
    """Accuracy fell by a point, and log loss, which was asked for, is smaller."""
    project.package(0)
    promote(project.workspace)
    project.package(1, -0.01, metric="log_loss", gain=0.2, gain_ci95=[0.1, 0.3])
    change = promote(project.workspace)
    assert change.promotion is not None
    assert (
        "log_loss +0.2000 (95%: +0.1000 to +0.3000) (above 0: better) against the production model" in change.sentence
    )


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
        f"the packaged model was compared with 0123456789ab, and the production model is {in_use}"
    )
    assert "dvc repro --force --single-item score" in str(refused.value.remedy)


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
    assert change.promotion is not None and change.promotion.tag == "vision=birds@v1.0.0"
    assert git(tmp_path / "larger", "tag").split() == ["vision=birds#production#1", "vision=birds@v1.0.0"]
    assert [item.number for item in history(project.workspace)] == [1, 2], "what was promoted without git comes first"


def test_another_branch_has_the_same_history(project: Project) -> None:
    git(project.root, "branch", "other")
    first = project.package(0)
    promote(project.workspace)
    git(project.root, "checkout", "-q", "other")
    project.package(1, 0.1)
    change = promote(project.workspace)
    assert change.promotion is not None and (change.promotion.tag, change.promotion.replaced) == ("birds@v2.0.0", first)


def test_a_stage_that_was_assigned_by_hand_moves_nothing(project: Project) -> None:
    import gto.api

    version = project.package(0)
    promote(project.workspace)
    gto.api.assign(str(project.root), "birds", "production", version="v1.0.0", force=True)
    gto.api.assign(str(project.root), "birds", "staging", version="v1.0.0", message="try it\n\non machine 2")
    assert [item.version for item in history(project.workspace)] == [version]


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


@pytest.mark.parametrize("step", ["add", "record", "commit", "register", "assign"])
def test_broken_off_anywhere_it_is_finished_by_running_again(
    project: Project, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a kill could hit: after each step, the next one raises."""
    places = {
        "add": "dvc.repo.Repo.add",
        "record": "graft.registry.promote.record",
        "commit": "graft.registry.git.Checkout.commit",
        "register": "gto.api.register",
        "assign": "gto.api.assign",
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
    assert git(project.root, "tag").split() == [
        "birds#production#1", "birds#production#2", "birds@v1.0.0", "birds@v2.0.0",
    ]  # fmt: skip
    assert git(project.root, "status", "--short") == ""
    assert version_of(project.workspace.promoted) == version


def test_a_cache_that_cannot_be_written_is_one_message(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.package(0)
    promote(project.workspace)
    version = project.package(1, 0.1)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("dvc.repo.Repo.add", full)
        with pytest.raises(VersionError, match=r"DVC cannot do this: .*No space left on device"):
            promote(project.workspace)
    assert len(history(project.workspace)) == 1
    assert [path.name for path in project.workspace.promoted.parent.glob(".promoted*")] == []
    assert promote(project.workspace).promotion == history(project.workspace)[-1]
    assert version_of(project.workspace.promoted) == version


@pytest.mark.parametrize("name", ["holiday.jpg", "mine/holiday.jpg", "model.json", "model.safetensors"])
@pytest.mark.parametrize("command", [promote, rollback], ids=["promote", "rollback"])
def test_files_that_graft_did_not_write_are_not_replaced(
    project: Project, name: str, command: Callable[[Workspace], PromotionResult]
) -> None:
    """A file put beside the model, or in its place, is the only copy of it."""
    for number in (0, 1):
        project.package(number, 0.1)
        promote(project.workspace)
    project.package(2, 0.1)
    mine = project.workspace.promoted / name
    mine.parent.mkdir(exist_ok=True)
    mine.write_bytes(b"mine")
    with pytest.raises(VersionError, match=f"graft did not write what lies there: .*{name}") as refused:
        command(project.workspace)
    assert refused.value.where == str(project.workspace.promoted)
    assert mine.read_bytes() == b"mine" and len(history(project.workspace)) == 2
    assert git(project.root, "status", "--short") == ""


def test_a_model_of_the_users_own_in_its_place_is_not_replaced(project: Project) -> None:
    """A whole model, which graft never promoted."""
    shutil.copytree(project.trained[3], project.workspace.promoted)
    project.package(0)
    with pytest.raises(VersionError, match=r"graft did not write what lies there: model\.json, model\.safetensors"):
        promote(project.workspace)
    assert version_of(project.workspace.promoted) == version_of(project.trained[3])


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


def test_a_damaged_history_is_named(project: Project) -> None:
    project.workspace.promotions.parent.mkdir(exist_ok=True)
    for text in ('[{"number": 1', '[{"number": 1, "what": 2}]', "[1]"):
        project.workspace.promotions.write_text(text)
        with pytest.raises(VersionError, match="the history of promoted models is damaged"):
            history(project.workspace)
