"""One shell command as a process group: its output line by line while it runs, and an end that really ends it."""

from __future__ import annotations

import contextlib
import contextvars
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

# A stage that is told to stop gets this long to tidy up before it is killed.
GRACE_SECONDS = 10.0
# A helper that outlives the command may keep its output open; nobody waits longer than this for its last words.
LAST_WORDS_SECONDS = 2.0


def run_command(
    argv: Sequence[str],
    on_line: Callable[[str], None],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> int:
    """Run ``argv`` to its end and return its exit status (negative: the signal that killed it).

    The command leads a process group of its own. Whatever takes the caller away from here (Ctrl-C, SIGTERM, a
    timeout) ends that whole group first, so that no stage goes on writing behind the back of the next run.

    Args:
        argv: the program and its arguments.
        on_line: called with every line of standard output and standard error, in a thread of its own.
        cwd: where it runs.
        env: its environment; None: this process's.
        timeout: seconds after which the group is ended; None: it may take as long as it likes.

    Raises:
        subprocess.TimeoutExpired: it took longer; nothing of it is left running.
    """
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        # Without this a Python stage would hold its lines back until it ends, because it writes to a pipe.
        env={**(os.environ if env is None else env), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    # In a copy of the caller's context: Prefect keeps there which server lines are logged to.
    context = contextvars.copy_context()
    reader = threading.Thread(target=context.run, args=(_read, process.stdout, on_line), daemon=True)
    try:
        # In here: the first line may be told, and answered by a signal, before the thread is known to have begun.
        reader.start()
        status = process.wait(timeout)
    except BaseException:
        _end_group(process)
        raise
    finally:
        if reader.ident is not None:
            reader.join(LAST_WORDS_SECONDS)
    return status


def describe_status(status: int) -> str:
    """An exit status in words; a shell reports a signal as 128 plus its number."""
    number = -status if status < 0 else status - 128
    with contextlib.suppress(ValueError):
        name = signal.Signals(number).name
        if number == signal.SIGKILL:
            return f"was killed ({name}), as happens when memory runs out"
        return f"was ended by {name}"
    return f"ended with exit code {status}"


def _read(stream: IO[bytes], on_line: Callable[[str], None]) -> None:
    with stream:
        for raw in stream:
            # A progress bar rewrites its line with carriage returns: only what stood there last is worth keeping.
            on_line(raw.decode("utf-8", errors="replace").rstrip().rpartition("\r")[2])


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ask the group to stop as Ctrl-C would, and kill what is left of it after the grace."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
