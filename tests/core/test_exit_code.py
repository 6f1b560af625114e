"""What a command raises is one message and an exit code; a closed pipe ends it quietly."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from graft.core.exit_code import CLOSED_PIPE, exit_code


def typed_into_a_closed_pipe(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """``python -m ARGUMENTS | (nobody)``."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=folder,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
            check=False,
        )
    finally:
        os.close(writing)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["history"], ["zoo", "resnet*"], ["--help"]])
def test_a_closed_pipe_ends_a_command_without_a_word(arguments: list[str], unbuffered: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").touch()  # history is a project's
    done = typed_into_a_closed_pipe("graft.cli.main", *arguments, folder=tmp_path, PYTHONUNBUFFERED=unbuffered)
    assert done.stderr == ""
    # The help is printed by Typer, which has a code of its own for it.
    assert done.returncode == (1 if arguments == ["--help"] else CLOSED_PIPE) != 0


def test_it_ends_as_what_the_pipe_itself_ends() -> None:
    assert CLOSED_PIPE == 128 + signal.SIGPIPE == 141


def test_another_broken_connection_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    def ask() -> None:
        raise BrokenPipeError(32, "Broken pipe")

    assert exit_code(ask) == 1
    assert "error: unexpected BrokenPipeError" in capfd.readouterr().err


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))])
def test_a_user_is_told_what_to_take_less_of(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise error

    assert exit_code(work) == 1
    assert capsys.readouterr().err == (
        "error: out of memory\n  remedy: end other programs, or take less at once: train.batch_size, compute.workers, "
        "or a smaller network or size in zoo.candidates\n"
    )
