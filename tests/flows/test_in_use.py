"""The flows `promote` and `rollback`: what the room does, as states, messages and a page; a failure is one message."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import promote as promoting
from flows import rollback as rolling
from flows.in_use import page
from graft.inference.packaged import version_of
from graft.registry.history import history
from graft.registry.promote import Change
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
    state = promoting.promote(root, send=True, return_state=True)
    assert state.is_completed() and f"birds:{first} (number 1) is in use now" in str(state.message)
    assert f"{tmp_path / 'remote'}: 5 objects sent" in str(state.message)
    project.package(1, -0.1)
    kept = promoting.promote(root, return_state=True)
    assert (kept.name, version_of(project.workspace.promoted)) == ("Kept", first)
    assert "it is not better than the model in use" in str(kept.message)
    promoting.promote(root, anyway=True, return_state=True)
    back = rolling.rollback(root, return_state=True)
    assert back.is_completed() and version_of(project.workspace.promoted) == first
    shown = page(Change(None, "Done"), history(project.workspace))
    newest = (
        f"| in use | birds:{first} (number 3) | 0.900 (95%: 0.870 to 0.930) | {history(project.workspace)[-1].when}"
    )
    assert shown.splitlines()[5].startswith(newest)


@pytest.mark.parametrize("module", [promoting, rolling], ids=["promote", "rollback"])
def test_a_refusal_is_one_message(module: object, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert module.main(["--root", str(project.root)]) == 1  # type: ignore[attr-defined]
    said = capsys.readouterr().err
    assert said.startswith(("error: no model was packaged here", "error: no model was ever promoted"))
    assert "Traceback" not in said and "remedy: " in said


def test_after_a_rollback_nothing_is_promoted_until_a_person_does(project: Project) -> None:
    root = str(project.root)
    first = project.package(0)
    assert promoting.promote(root, automatic=True, return_state=True).is_completed()
    project.package(1, 0.1)
    # As by the schedule where the event was lost: the promotion is caught up with.
    assert promoting.promote(root, automatic=True, cause="schedule", return_state=True).name == "Completed"
    rolling.rollback(root, return_state=True)
    project.package(2, 0.1)
    state = promoting.promote(root, automatic=True, return_state=True)
    held = history(project.workspace)[-1]
    assert (state.name, state.message) == (
        "Kept",
        f"promotion is held since the rollback to {held.title} at {held.when}: `graft promote` lifts that, once it "
        "puts a better model into use",
    )
    assert version_of(project.workspace.promoted) == first
    assert promoting.promote(root, anyway=True, return_state=True).name == "Completed"
    last = promoting.promote(root, automatic=True, return_state=True)
    assert last.name == "Kept" and "is in use already" in str(last.message)


def test_where_nothing_is_packaged_yet_the_schedule_has_nothing_to_do(project: Project) -> None:
    state = promoting.promote(str(project.root), automatic=True, return_state=True)
    assert (state.name, state.message) == ("Kept", "nothing is packaged yet")
