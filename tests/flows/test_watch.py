"""Watching: what is said of changed data, and that unchanged data starts nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows import pipeline
from flows.graph import changed_inputs, run_stage
from flows.watch import watch
from graft.core.config import load_params
from graft.core.workspace import Workspace
from graft.data.changes import compare_with_ingested
from graft.pipeline import ingest
from tests.flows.test_project import locked_by_another
from tests.flows.toy import Toy, reproduce

DVC = str(Path(sys.executable).with_name("dvc"))

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(600)]


def changed(toy: Toy, *stages: str) -> dict[str, str]:
    return {path: change.how for path, change in changed_inputs(toy.root, stages).items()}


def test_changed_inputs_are_named_and_unknown_stages_passed_over(any_toy: Toy) -> None:
    assert changed(any_toy, "ingest", "unheard-of") == {"in.txt": "modified", "ingest.sh": "modified"}
    reproduce(any_toy.root)
    assert changed(any_toy, "ingest") == {}
    any_toy.say("better")
    assert changed(any_toy, "ingest") == {"in.txt": "modified"}
    (any_toy.root / "in.txt").unlink()
    assert changed(any_toy, "ingest") == {"in.txt": "deleted"}
    assert changed(any_toy, "unheard-of") == {}


def test_what_stages_make_is_nobodys_data(toy: Toy) -> None:
    """In the middle of a run, the outputs of its first stages are not what the later ones ran on last."""
    reproduce(toy.root)
    toy.say("better")
    run_stage(toy.root, "ingest", print)
    assert changed(toy, "ingest", "select", "evaluate") == {}


def test_the_flow_says_changed_once_and_unchanged_after_a_run(toy: Toy) -> None:
    reproduce(toy.root)
    assert watch(str(toy.root), return_state=True).name == "Unchanged"
    toy.say("better")
    state = watch(str(toy.root), return_state=True)
    assert (state.name, state.message) == ("Changed", "in.txt (modified)")
    assert state.is_completed()


def test_a_change_is_trained_on_once_and_the_next_one_again(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    emitted = []
    monkeypatch.setattr("flows.watch.emit", lambda event, workspace, **payload: emitted.append(payload["what"]))
    reproduce(toy.root)
    for word in ("bad", "bad", "worse", "worse", "bad"):
        toy.say(word)
        assert watch(str(toy.root), return_state=True).name == "Changed"
    assert len(emitted) == 3, "a change that is refused is not trained on at every look"
    toy.say("good")
    assert watch(str(toy.root), return_state=True).name == "Unchanged"
    toy.say("bad")
    watch(str(toy.root))
    assert len(emitted) == 4


def test_it_is_skipped_for_the_whole_of_a_run(toy: Toy) -> None:
    reproduce(toy.root)
    toy.say("better")
    with locked_by_another(Workspace(toy.root)):
        state = watch(str(toy.root), return_state=True)
    assert state.name == "Skipped" and state.is_completed()
    assert str(state.message).startswith("another run is at work here (`fuser ")
    assert watch(str(toy.root), return_state=True).name == "Changed", "the next look finds what that did not take in"


def test_data_that_is_just_being_taken_in_is_no_failure(toy: Toy) -> None:
    reproduce(toy.root)
    toy.say("slow")
    (toy.root / "ingest.sh").write_text("echo reading in.txt; sleep 500; cp in.txt data.txt\n")
    with subprocess.Popen(
        [DVC, "repro"], cwd=toy.root, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as other:
        assert other.stdout is not None
        while "reading" not in other.stdout.readline():
            assert other.poll() is None
        state = watch(str(toy.root), return_state=True)
        os.killpg(other.pid, signal.SIGKILL)  # with the stage, which would go on
    assert state.name == "Skipped" and state.is_completed()
    assert "a run is taking the data in just now" in str(state.message) and f"(PID {other.pid})" in str(state.message)
    assert watch(str(toy.root), return_state=True).name == "Changed", "the next look finds what that did not take in"


def test_a_change_starts_the_deployment_that_trains_once(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[str, Any]] = []
    monkeypatch.setattr("flows.watch.run_deployment", lambda name, **given: started.append((name, given)))
    reproduce(toy.root)
    toy.say("better")
    runs = [watch(str(toy.root), "graft-pipeline/train-toy", return_state=True) for _ in range(2)]
    ((name, given),) = started
    assert (name, given["parameters"]) == ("graft-pipeline/train-toy", {"cause": "in.txt (modified)"})
    assert given["idempotency_key"] == str(runs[0].state_details.flow_run_id)


def test_a_folder_that_is_no_project_fails(tmp_path: Path) -> None:
    state = watch(str(tmp_path), return_state=True)
    assert state.is_failed()
    assert "run from the project's folder, where dvc.yaml lies" in state.message


def test_images_are_compared_by_name_and_label(
    workspace_with: Callable[..., Path], make_classes: Callable[..., Path]
) -> None:
    images = make_classes({"ant": 4, "bee": 3})
    workspace = Workspace(workspace_with(data={"source": str(images)}))
    params = load_params(workspace.params)
    assert compare_with_ingested(params, workspace).describe() == "7 images, 7 new"
    ingest.run(params, workspace)
    assert compare_with_ingested(params, workspace).describe() == "7 images, some changed in place"
    (images / "ant" / "ant_000.png").unlink()
    shutil.copy(images / "bee" / "bee_000.png", images / "bee" / "another.png")
    shutil.copy(images / "bee" / "bee_000.png", images / "bee" / "a_third.png")
    assert compare_with_ingested(params, workspace).describe() == "8 images, 2 new, 1 gone"
    assert compare_with_ingested(params, workspace).brief() == "2 new images, 1 images gone"


def test_a_source_that_is_gone_since_is_named_with_the_nearest_name(
    toy: Toy, make_classes: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    """DVC would say that an internal link leads nowhere, in a sentence of the operating system."""
    make_classes({"ant": 4, "bee": 3}, name="photos")
    (toy.root / "params.yaml").write_text(
        "data: {source: ../photos}\nzoo: {candidates: [{arch: resnet18, weights: none}]}\n"
    )
    reproduce(toy.root)
    assert watch(str(toy.root), return_state=True).name == "Unchanged"
    (toy.root.parent / "photos").rename(toy.root.parent / "photos-2026")
    words = (
        f"there is no such folder or table\n  where: {toy.root}/../photos\n"
        "  remedy: name what is there (data.source, or the command's argument); did you mean 'photos-2026'?"
    )
    state = watch(str(toy.root), return_state=True)
    assert (state.name, state.message) == ("Failed", words)
    assert pipeline.main(["--root", str(toy.root)]) == 1
    assert f"error: {words}\n" in capfd.readouterr().err
