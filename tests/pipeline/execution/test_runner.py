"""run_stage: params are read, the workspace is locked, a waiting stage says for whom, errors end in one message."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from graft.pipeline.execution.runner import run_stage

HOLD = (
    "import sys; from pathlib import Path; from graft.pipeline.execution.runner import exclusively\n"
    "with exclusively(Path('.graft/stage.lock'), 'train'):\n    print('held', flush=True); sys.stdin.read()"
)
SPLIT = (
    "from graft.pipeline.execution.runner import run_stage\n"
    "run_stage('split', lambda params, workspace: print('works'))"
)


def hold(root: Path) -> subprocess.Popen[str]:
    """A stage that runs until its standard input is closed."""
    command = [sys.executable, "-c", HOLD]
    process = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_stage_waits_for_the_one_that_runs_and_names_it(workspace_with: Callable[..., Path]) -> None:
    root, pipe = workspace_with(), subprocess.PIPE
    with (
        hold(root) as other,
        subprocess.Popen([sys.executable, "-c", SPLIT], cwd=root, stdout=pipe, stderr=pipe, text=True) as waiting,
    ):
        assert waiting.stderr is not None
        said = waiting.stderr.readline()
        still_waiting = waiting.poll() is None
        other.communicate()  # its end; before anything is judged, or a test that fails would wait for ever
        # Minutes that nobody can know beforehand: a busy machine takes its time to begin the second process.
        waits = f"split: waiting, because the stage 'train' \\(process {other.pid}, for \\d+ min\\) is still running in"
        assert re.fullmatch(f"{waits} this folder\n", said)
        assert still_waiting
        assert waiting.communicate()[0].startswith("works\nsplit: done in ")


def test_a_killed_stage_leaves_no_lock(workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    root = workspace_with()
    with hold(root) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert run_stage("split", lambda params, workspace: None) == 0
    assert capsys.readouterr().err == ""


def test_the_lock_is_free_again_after_a_failure(
    workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    workspace_with()

    def fail(*_: object) -> None:
        raise RuntimeError("boom")

    assert run_stage("split", fail) == 1
    assert "unexpected RuntimeError: boom" in capsys.readouterr().err
    assert run_stage("split", lambda params, workspace: None) == 0


def test_without_params_a_stage_says_where_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_stage("split", lambda params, workspace: None) == 1
    assert capsys.readouterr().err == (
        "error: there is no params.yaml here\n  where: params.yaml\n"
        "  remedy: run from the project's folder, where params.yaml lies\n"
    )
