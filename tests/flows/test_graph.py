"""What flows.graph relies on of the installed DVC, run for real on a toy project."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flows.graph import run_stage, stages_in_order
from graft.core.errors import GraftError
from tests.flows.toy import Toy, reproduce

DVC = str(Path(sys.executable).with_name("dvc"))
ALL_RAN = {"ingest": True, "select": True, "evaluate": True}


def test_stages_are_in_order_then_unchanged_and_dvc_agrees(any_toy: Toy) -> None:
    assert [stage.name for stage in stages_in_order(any_toy.root)] == ["ingest", "select", "evaluate"]
    assert stages_in_order(any_toy.root)[0].outs == (any_toy.root / "data.txt",)
    assert reproduce(any_toy.root) == ALL_RAN
    assert reproduce(any_toy.root) == dict.fromkeys(ALL_RAN, False)
    done = subprocess.run([DVC, "repro"], cwd=any_toy.root, capture_output=True, text=True, check=True)
    assert done.stdout.count("didn't change, skipping") == 3
    any_toy.say("better")
    assert reproduce(any_toy.root) == {"ingest": True, "select": True, "evaluate": False}


def test_a_target_comes_with_what_it_needs(toy: Toy) -> None:
    assert [stage.name for stage in stages_in_order(toy.root, ["select"])] == ["ingest", "select"]


@pytest.mark.parametrize("asked", [{"targets": ["ingets"]}, {"named": ["ingets"]}])
def test_a_stage_that_is_not_there_is_refused(toy: Toy, asked: dict[str, list[str]]) -> None:
    with pytest.raises(GraftError) as caught:
        stages_in_order(toy.root, **asked)
    assert caught.value.message() == "there is no stage 'ingets'\n  where: dvc.yaml\n  remedy: did you mean 'ingest'?"


def test_a_failed_stage_speaks_for_itself(any_toy: Toy) -> None:
    any_toy.say("bad")
    lines: list[str] = []
    with pytest.raises(GraftError) as caught:
        run_stage(any_toy.root, "ingest", lines.append)
    assert {"reading in.txt", "not a good word"} <= set(lines)
    assert caught.value.message() == (
        "stage 'ingest' failed: the file holds a bad word\n  where: in.txt\n  remedy: take a better word"
    )
    any_toy.say("good")
    assert reproduce(any_toy.root) == ALL_RAN


@pytest.mark.parametrize(
    ("word", "begins", "ends"),
    [
        ("silent", "the last it printed:\n", "exited with 3"),
        (
            "killed",
            "it was killed (SIGKILL), as happens when memory runs out; the last it printed:\n",
            "exited with -9",
        ),
    ],
)
def test_a_stage_that_dies_without_a_message(toy: Toy, word: str, begins: str, ends: str) -> None:
    toy.say(word)
    with pytest.raises(GraftError) as caught:
        run_stage(toy.root, "ingest", print)
    message = caught.value.message()
    assert message.startswith(f"stage 'ingest' failed: {begins}") and message.endswith(ends)
    assert "reading in.txt" in message


def test_no_project_here(tmp_path: Path) -> None:
    with pytest.raises(GraftError) as caught:
        stages_in_order(tmp_path)
    assert caught.value.remedy == "run from the project's folder, where dvc.yaml lies"
    with pytest.raises(GraftError, match="there is no such folder"):
        stages_in_order(tmp_path / "away")


def test_a_broken_graph_is_refused_with_its_file(toy: Toy) -> None:
    (toy.root / "dvc.yaml").write_text("stages:\n  one:\n    command: ls\n")
    with pytest.raises(GraftError, match=r"dvc\.yaml"):
        stages_in_order(toy.root)


def test_neither_git_nor_no_scm_says_what_to_do(toy: Toy) -> None:
    (toy.root / ".dvc" / "config").write_text("")
    with pytest.raises(GraftError) as caught:
        stages_in_order(toy.root)
    assert caught.value.remedy is not None and "core.no_scm true" in caught.value.remedy


def test_a_stage_that_another_process_runs_is_refused_with_that_process(toy: Toy) -> None:
    (toy.root / "ingest.sh").write_text("echo reading; while test -e wait; do sleep 0.1; done; cp in.txt data.txt\n")
    (toy.root / "wait").touch()
    with subprocess.Popen([DVC, "repro"], cwd=toy.root, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        while "reading" not in other.stdout.readline():
            assert other.poll() is None
        with pytest.raises(GraftError, match=rf"is busy, it is being blocked by:\n +\(PID {other.pid}\)"):
            run_stage(toy.root, "ingest", print)
        (toy.root / "wait").unlink()
        other.communicate(timeout=60)
    assert other.returncode == 0, "the other run must not be disturbed"
