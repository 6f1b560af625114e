"""Runs a command as a process group: output line by line, and all its processes ended when it is stopped."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

# A command that is told to stop gets this long to tidy up before it is killed.
GRACE_SECONDS = 10.0
# Prefect ends a run by an exception that Python raises between two instructions, not within a read that waits.
POLL_SECONDS = 1.0


def run_command(argv: Sequence[str], on_line: Callable[[str], None], cwd: Path) -> int:
    """Run a command in a process group of its own; an exception, such as Prefect's time-out, ends the whole group.

    Args:
        argv: the program and its arguments.
        on_line: called with every line of standard output and standard error.
        cwd: where it runs.

    Returns:
        The exit status; negative: the signal that killed it.
    """
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},  # Python holds lines back that go to a pipe
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        _read_lines(process, process.stdout.fileno(), on_line)
        return process.wait()
    except BaseException:
        _end_group(process)
        raise
    finally:
        process.stdout.close()


def _read_lines(process: subprocess.Popen[bytes], output: int, on_line: Callable[[str], None]) -> None:
    """Read to the end of the output, or to the end of the process where a helper of its keeps the output open."""
    rest = b""
    while True:
        if not select.select([output], [], [], POLL_SECONDS)[0]:
            if process.poll() is not None:
                break
            continue
        if not (chunk := os.read(output, 1 << 16)):
            break
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            on_line(_decoded(line))
    if rest:
        on_line(_decoded(rest))


def _decoded(line: bytes) -> str:
    """A progress bar rewrites its line with carriage returns: only what stands there last counts."""
    return line.decode("utf-8", errors="replace").rstrip().rpartition("\r")[2]


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Interrupt the group as Ctrl-C would, and kill it after the grace period."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
