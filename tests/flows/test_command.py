"""A command's lines arrive while it runs, and its whole group ends when its caller is taken away."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.command import run_command
from tests.flows.processes import ended


def test_lines_of_both_streams_and_the_status(tmp_path: Path) -> None:
    lines: list[str] = []
    script = "printf 'a\\nb'; printf '\\n 10%%\\r 20%%\\r\\nend' >&2; pwd; exit 7"
    assert run_command(["sh", "-c", script], lines.append, cwd=tmp_path) == 7
    assert lines == ["a", "b", " 20%", f"end{tmp_path}"]


def test_lines_arrive_while_the_command_runs(tmp_path: Path) -> None:
    lines: list[str] = []

    def note(line: str) -> None:
        lines.append(line)
        (tmp_path / "go on").touch()  # which the command waits for

    script = "echo a; until test -e 'go on'; do sleep 0.05; done; echo b"
    assert run_command(["sh", "-c", script], note, cwd=tmp_path) == 0
    assert lines == ["a", "b"]


def test_a_helper_that_stays_behind_is_not_waited_for(tmp_path: Path) -> None:
    lines: list[str] = []
    try:
        assert run_command(["sh", "-c", "sleep 250 & echo $!"], lines.append, cwd=tmp_path) == 0
        assert alive(int(lines[0])), "it was waited for"
    finally:
        os.kill(int(lines[0]), signal.SIGKILL)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C interrupts, also where the tests were started in the background, where shells have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_the_whole_group(tmp_path: Path) -> None:
    script = "sh -c 'echo $$; sleep 60' & echo $$; wait"
    pids: list[int] = []

    def note(line: str) -> None:
        pids.append(int(line))
        if len(pids) == 2:
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        run_command(["bash", "-c", script], note, cwd=tmp_path)
    assert all(ended(pid) for pid in pids), "the command outlived its caller"


def alive(pid: int) -> bool:
    """Whether a process still runs; a zombie that nobody has collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
