"""run_stage: params are read, the workspace is locked, a waiting stage says for whom, errors end in one message."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from graft.stages.runner import run_stage

HOLD = (
    "import time; from pathlib import Path; from graft.stages.runner import exclusively\n"
    "with exclusively(Path('.graft/stage.lock'), 'train'):\n    print('held', flush=True); time.sleep({seconds})"
)


def hold(root: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD.format(seconds=seconds)]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_stage_waits_for_the_one_that_runs_and_names_it(
    workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = workspace_with()
    with hold(root, 1.0) as other:
        started = time.monotonic()
        assert run_stage("split", lambda params, workspace: print("works")) == 0
        assert time.monotonic() - started > 0.3
        said = capsys.readouterr()
    assert said.out == "works\n"
    assert said.err == (
        f"split: waiting, because the stage 'train' (process {other.pid}, for 0 min) is still running in this folder\n"
    )


def test_a_killed_stage_leaves_no_lock(workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    root = workspace_with()
    with hold(root, 60) as other:
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
