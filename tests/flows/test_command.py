"""A command's lines arrive while it runs, and its whole group ends when its caller is taken away."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

import pytest

from flows.command import describe_status, run_command


def test_lines_of_both_streams_and_the_status(tmp_path: Path) -> None:
    lines: list[str] = []
    script = "printf 'a\\nb'; printf '\\n 10%%\\r 20%%\\r\\nend' >&2; pwd; exit 7"
    assert run_command(["sh", "-c", script], lines.append, cwd=tmp_path) == 7
    assert lines == ["a", "b", " 20%", f"end{tmp_path}"]


def test_lines_arrive_while_the_command_runs(tmp_path: Path) -> None:
    times: list[float] = []
    run_command(["sh", "-c", "echo a; sleep 1; echo b"], lambda line: times.append(time.perf_counter()), cwd=tmp_path)
    assert times[1] - times[0] > 0.5


def test_lines_are_handled_in_the_callers_context(tmp_path: Path) -> None:
    server = ContextVar("server", default="none")
    server.set("mine")
    seen: list[str] = []
    run_command(["echo", "a"], lambda line: seen.append(server.get()), cwd=tmp_path)
    assert seen == ["mine"]


def test_a_helper_that_stays_behind_is_not_waited_for(tmp_path: Path) -> None:
    start = time.perf_counter()
    assert run_command(["sh", "-c", "sleep 8 & echo done"], lambda line: None, cwd=tmp_path) == 0
    assert time.perf_counter() - start < 6


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
    deadline = time.monotonic() + 12
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "the command outlived its caller"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process still runs; a zombie that nobody has collected yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("status", "words"),
    [(3, "ended with exit code 3"), (-15, "was ended by SIGTERM"), (137, "was killed (SIGKILL), as happens when")],
)
def test_a_status_in_words(status: int, words: str) -> None:
    assert describe_status(status).startswith(words)
