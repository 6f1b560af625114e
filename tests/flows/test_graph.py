"""The contract with the installed DVC: what flows.graph relies on, run for real on a toy project."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flows.graph import Step, reproduce
from flows.outcome import Outcome, StageError, StageRun
from graft.core.errors import GraftError
from tests.flows.processes import ended
from tests.flows.toy import Toy

DVC = str(Path(sys.executable).with_name("dvc"))


def outcomes(runs: list[StageRun]) -> dict[str, Outcome]:
    return {run.name: run.outcome for run in runs}


ALL_RAN = {"ingest": Outcome.RAN, "select": Outcome.RAN, "evaluate": Outcome.RAN}


def test_stages_run_in_order_then_are_unchanged_then_come_from_the_run_cache(any_toy: Toy) -> None:
    first = reproduce(any_toy.root)
    assert [run.name for run in first] == ["ingest", "select", "evaluate"]
    assert outcomes(first) == ALL_RAN
    assert first[0].outs == (any_toy.root / "data.txt",)
    assert set(outcomes(reproduce(any_toy.root)).values()) == {Outcome.UNCHANGED}
    any_toy.say("better")
    assert outcomes(reproduce(any_toy.root)) == ALL_RAN | dict.fromkeys(["select", "evaluate"], Outcome.UNCHANGED) | {
        "select": Outcome.RAN
    }
    any_toy.say("good")
    assert outcomes(reproduce(any_toy.root))["ingest"] is Outcome.RESTORED
    assert (any_toy.root / "data.txt").read_text() == "good\n"


def test_dvc_repro_and_the_graph_agree_that_nothing_is_left_to_do(any_toy: Toy) -> None:
    reproduce(any_toy.root)
    done = subprocess.run([DVC, "repro"], cwd=any_toy.root, capture_output=True, text=True, check=True)
    assert done.stdout.count("didn't change, skipping") == 3


def test_targets_and_force(toy: Toy) -> None:
    assert outcomes(reproduce(toy.root, targets=["select"])) == {"ingest": Outcome.RAN, "select": Outcome.RAN}
    assert outcomes(reproduce(toy.root, targets=["ingest"], force=True)) == {"ingest": Outcome.RAN}


def test_the_callback_sees_every_stage_and_every_line(toy: Toy, capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[tuple[str, str]] = []

    def around(step: Step) -> StageRun:
        return step.run(lambda line: seen.append((step.name, line)))

    reproduce(toy.root, around)
    assert seen == [("ingest", "reading in.txt"), ("ingest", "not a good word")]
    assert capfd.readouterr().out == ""  # DVC's own account of the run is not mixed in


def test_a_failed_stage_speaks_for_itself(any_toy: Toy) -> None:
    any_toy.say("bad")
    with pytest.raises(StageError) as caught:
        reproduce(any_toy.root)
    assert caught.value.stage == "ingest"
    assert "reading in.txt" in caught.value.output
    assert caught.value.message() == (
        "stage 'ingest' failed: the file holds a bad word\n  where: in.txt\n  remedy: take a better word"
    )
    any_toy.say("good")
    assert outcomes(reproduce(any_toy.root)) == ALL_RAN


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (
            "silent",
            "stage 'ingest' failed: it ended with exit code 3; the last it printed:\n    reading in.txt\n    not",
        ),
        ("killed", "stage 'ingest' failed: it was killed (SIGKILL), as happens when memory runs out; the last it"),
    ],
)
def test_a_stage_that_dies_without_a_message(toy: Toy, word: str, message: str) -> None:
    toy.say(word)
    with pytest.raises(StageError) as caught:
        reproduce(toy.root)
    assert caught.value.message().startswith(message)


def test_a_stage_can_be_tried_again(toy: Toy) -> None:
    toy.say("bad")

    def twice(step: Step) -> StageRun:
        try:
            return step.run()
        except StageError:
            toy.say("good")
            return step.run()

    assert outcomes(reproduce(toy.root, twice)) == ALL_RAN


def test_what_is_missing_is_named(toy: Toy) -> None:
    (toy.root / "in.txt").unlink()
    with pytest.raises(GraftError, match=r"in\.txt"):
        reproduce(toy.root)


def test_no_project_here(tmp_path: Path) -> None:
    with pytest.raises(GraftError) as caught:
        reproduce(tmp_path)
    assert caught.value.remedy == "run from the project's folder, where dvc.yaml lies"


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match="there is no such folder"):
        reproduce(tmp_path / "away")


def test_a_broken_graph_is_refused_with_its_file(toy: Toy) -> None:
    (toy.root / "dvc.yaml").write_text("stages:\n  one:\n    command: ls\n")
    with pytest.raises(GraftError, match=r"dvc\.yaml") as caught:
        reproduce(toy.root)
    assert not isinstance(caught.value, StageError)


def test_neither_git_nor_no_scm_says_what_to_do(toy: Toy) -> None:
    (toy.root / ".dvc" / "config").write_text("")
    with pytest.raises(GraftError) as caught:
        reproduce(toy.root)
    assert caught.value.remedy is not None
    assert "core.no_scm true" in caught.value.remedy


@pytest.mark.parametrize("fault", [GraftError("not today"), ZeroDivisionError("not today")])
def test_what_the_callback_raises_ends_the_run_as_it_is(toy: Toy, fault: Exception) -> None:
    def refuse(step: Step) -> StageRun:
        raise fault

    with pytest.raises(type(fault), match="not today"):
        reproduce(toy.root, refuse)
    assert not (toy.root / "data.txt").exists()


def test_the_projects_lock_is_waited_for(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dvc.lock.DEFAULT_TIMEOUT", 0.6)  # seconds after which DVC by itself would give up
    (toy.root / ".dvc" / "tmp").mkdir()
    holder = "import sys, zc.lockfile; lock = zc.lockfile.LockFile(sys.argv[1]); print('held', flush=True); "
    command = [sys.executable, "-c", holder + "sys.stdin.read()", str(toy.root / ".dvc" / "tmp" / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None and other.stdout is not None
        assert other.stdout.readline() == "held\n"
        said: list[str] = []

        def let_it_end(line: str) -> None:
            said.append(line)
            threading.Timer(1.5, other.kill).start()  # later than DVC by itself would give up

        assert outcomes(reproduce(toy.root, say=let_it_end)) == ALL_RAN
    assert said == [f"waiting for another DVC process (PID {other.pid}) to let go of this project"]


def test_a_stage_that_another_process_runs_is_waited_for(toy: Toy) -> None:
    (toy.root / "ingest.sh").write_text("echo reading; while test -e wait; do sleep 0.1; done; cp in.txt data.txt\n")
    (toy.root / "wait").touch()
    # By itself it would give up where the machine pauses this process while it looks at a stage, and has the lock.
    command = [DVC, "--wait-for-lock", "repro"]
    with subprocess.Popen(command, cwd=toy.root, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        while "reading" not in other.stdout.readline():
            assert other.poll() is None
        said: list[str] = []

        def let_it_go_on(line: str) -> None:
            said.append(line)
            (toy.root / "wait").unlink(missing_ok=True)

        runs = reproduce(toy.root, say=let_it_go_on)
    assert other.returncode == 0, "the other run must not be disturbed"
    assert all(f"(PID {other.pid})" in line for line in said)
    waited_for = [line.split("'")[1] for line in said]
    # It may be at work on the stages after it, too, when their turn comes here.
    assert waited_for[0] == "ingest" and len(set(waited_for)) == len(waited_for), "each is told once"
    assert Outcome.RAN not in outcomes(runs).values(), "what the other run has made is not made again"


def test_a_killed_run_leaves_nothing_in_the_way(toy: Toy) -> None:
    (toy.root / "ingest.sh").write_text("echo reading in.txt; sleep 500; cp in.txt data.txt\n")
    with subprocess.Popen(
        [DVC, "repro"], cwd=toy.root, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as other:
        assert other.stdout is not None
        while "reading" not in other.stdout.readline():
            assert other.poll() is None
        os.killpg(other.pid, signal.SIGKILL)  # with the stage, which would write later
    (toy.root / "ingest.sh").write_text("cp in.txt data.txt\n")
    said: list[str] = []
    assert outcomes(reproduce(toy.root, say=said.append)) == ALL_RAN
    assert said == []


def test_the_inner_functions_of_dvc_that_are_used_have_the_shape_expected() -> None:
    import dvc.stage.run
    from dvc.repo.reproduce import _reproduce, _reproduce_stage

    assert list(inspect.signature(dvc.stage.run._run).parameters) == ["executable", "cmd", "kwargs"]
    assert list(inspect.signature(dvc.stage.run._make_cmd).parameters) == ["executable", "cmd"]
    assert list(inspect.signature(_reproduce_stage).parameters) == ["stage", "kwargs"]
    assert inspect.signature(_reproduce).parameters["repro_fn"].default is _reproduce_stage


def test_a_stage_that_takes_too_long_is_ended_with_all_its_processes(toy: Toy) -> None:
    # The helper would outlive its shell, and holds the stage's output open.
    (toy.root / "ingest.sh").write_text("sleep 500 & echo helper $!; wait; cp in.txt data.txt\n")
    printed: list[str] = []
    for seconds in (1, 15, 60):
        with pytest.raises(StageError) as caught:
            reproduce(toy.root, lambda step: step.run(printed.append, timeout=float(seconds)), targets=["ingest"])  # noqa: B023
        assert caught.value.message() == (
            f"stage 'ingest' failed: it took longer than {seconds} s, so it was ended with all its processes\n"
            f"  remedy: give it more time in the flow's parameter `timeouts`, such as {{ingest: {2 * seconds}}}"
        )
        if printed:  # a busy machine may need longer than a second to come to that
            break
    assert ended(int(printed[0].split()[1]))
    (toy.root / "ingest.sh").write_text("cp in.txt data.txt\n")
    assert outcomes(reproduce(toy.root, lambda step: step.run(timeout=250.0))) == ALL_RAN


@pytest.mark.parametrize("when", [1, 2_000_000_000])
def test_a_clock_that_was_set_back_or_forward_hides_no_change(toy: Toy, when: int) -> None:
    reproduce(toy.root)
    toy.say("better")
    os.utime(toy.root / "in.txt", (when, when))
    assert outcomes(reproduce(toy.root))["ingest"] is Outcome.RAN
    assert (toy.root / "data.txt").read_text() == "better\n"
    assert set(outcomes(reproduce(toy.root)).values()) == {Outcome.UNCHANGED}
