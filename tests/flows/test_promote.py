"""The flows `promote` and `rollback`: what the room does, as states, messages and a page; a failure is one message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.promote import history_page, promote, rollback
from graft.inference.package import version_of
from graft.registry.history import history
from graft.registry.promote import PromotionResult
from tests.registry.conftest import Project, lay
from tests.registry.conftest import trained as trained  # the fixture

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(600)]


@pytest.fixture
def project(tmp_path: Path, trained: list[Path], monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project without git."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    project = lay(tmp_path / "a project", trained, "none")
    with (project.root / ".dvc" / "config").open("a") as config:
        config.write(f"    remote = team\n['remote \"team\"']\n    url = {tmp_path / 'remote'}\n")
    return project


def test_promoted_sent_kept_and_brought_back(project: Project, tmp_path: Path) -> None:
    root = str(project.root)
    first = project.package(0)
    state = promote(root, send=True, return_state=True)
    assert state.is_completed() and f"birds:{first} (number 1) is in use now" in str(state.message)
    assert f"{tmp_path / 'remote'}: 5 objects sent" in str(state.message)
    project.package(1, -0.1)
    kept = promote(root, return_state=True)
    assert (kept.name, version_of(project.workspace.promoted)) == ("Kept", first)
    assert "it is not better than the production model" in str(kept.message)
    promote(root, anyway=True, return_state=True)
    back = rollback(root, return_state=True)
    assert back.is_completed() and version_of(project.workspace.promoted) == first
    shown = history_page(PromotionResult(None, "Done"), history(project.workspace))
    figures, since = "90.0% (95%: 87.0% to 93.0%) on 400 test images", history(project.workspace)[-1].when
    newest = f"| production | birds:{first} (number 3) | {figures} | {since}"
    assert shown.splitlines()[5].startswith(newest)


@pytest.mark.parametrize("flow", [promote, rollback])
def test_a_refusal_is_one_message(flow: Any, project: Project) -> None:
    state = flow(str(project.root), return_state=True)
    assert state.is_failed()
    assert state.message.startswith(("no model was packaged here", "no model was ever promoted"))
    assert "\n  remedy: " in state.message


def test_after_a_rollback_nothing_is_promoted_until_a_person_does(project: Project) -> None:
    root = str(project.root)
    first = project.package(0)
    assert promote(root, automatic=True, return_state=True).is_completed()
    project.package(1, 0.1)
    # As by the schedule where the event was lost: the promotion is caught up with.
    assert promote(root, automatic=True, cause="schedule", return_state=True).name == "Completed"
    rollback(root, return_state=True)
    project.package(2, 0.1)
    state = promote(root, automatic=True, return_state=True)
    held = history(project.workspace)[-1]
    assert (state.name, state.message) == (
        "Kept",
        f"promotion is held since the rollback to {held.title} at {held.when}: `graft promote` lifts that, once it "
        "puts a better model into use",
    )
    assert version_of(project.workspace.promoted) == first
    assert promote(root, anyway=True, return_state=True).name == "Completed"
    last = promote(root, automatic=True, return_state=True)
    assert last.name == "Kept" and "is in use already" in str(last.message)


def test_where_nothing_is_packaged_yet_the_schedule_has_nothing_to_do(project: Project) -> None:
    state = promote(str(project.root), automatic=True, return_state=True)
    assert (state.name, state.message) == ("Kept", "nothing is packaged yet")
