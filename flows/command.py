"""One shell command as a process group: its output line by line while it runs, and an end that really ends it."""

from __future__ import annotations

import contextlib
import contextvars
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

# A stage that is told to stop gets this long to tidy up before it is killed.
GRACE_SECONDS = 10.0
# A helper that outlives the command may keep its output open; nobody waits longer than this for its last words.
LAST_WORDS_SECONDS = 2.0
# How often the reader of an output looks whether the command has ended while nothing is said.
LOOK_SECONDS = 0.5
# No pipe holds more: once this much was read after a command's end, all that the command itself said is among it.
MOST_IN_PIPE = 1 << 20


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
    listener = _Listener(process.stdout, on_line)
    reader = threading.Thread(target=context.run, args=(listener.run,), daemon=True)
    try:
        # In here: the first line may be told, and answered by a signal, before the thread is known to have begun.
        reader.start()
        status = process.wait(timeout)
    except BaseException:
        _end_group(process)
        raise
    finally:
        listener.over.set()
        if reader.ident is not None:
            listener.heard.wait()
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


class _Listener:
    """Tells the lines of a command's output, and knows when all that the command itself said was told.

    Attributes:
        over: to be set when the command has ended.
        heard: set when nothing that it said is still to be told, however long that takes on a busy machine; a helper
            that keeps the output open is told on, but waited for no longer than LAST_WORDS_SECONDS.
    """

    def __init__(self, stream: IO[bytes], on_line: Callable[[str], None]) -> None:
        self.over, self.heard = threading.Event(), threading.Event()
        self._stream, self._on_line = stream, on_line
        self._begun = b""

    def run(self) -> None:
        """Tell every line to the stream's end."""
        try:
            with self._stream, selectors.DefaultSelector() as output:
                output.register(self._stream, selectors.EVENT_READ)
                while not self.over.is_set():
                    if output.select(LOOK_SECONDS) and not self._tell():
                        return
                until, left = time.monotonic() + LAST_WORDS_SECONDS, MOST_IN_PIPE
                while left > 0 and output.select(max(0.0, until - time.monotonic())):
                    if not (size := self._tell()):
                        return
                    left -= size
                self._tell_rest()
                self.heard.set()
                while self._tell():
                    pass
        finally:
            self.heard.set()

    def _tell(self) -> int:
        """Wait for output and tell its lines; returns its size in bytes, 0 at the end."""
        said = os.read(self._stream.fileno(), 1 << 16)
        *lines, self._begun = (self._begun + said).split(b"\n")
        for line in lines:
            self._on_line(_shown(line))
        if not said:
            self._tell_rest()
        return len(said)

    def _tell_rest(self) -> None:
        """The last line, where no line break ends it."""
        if self._begun:
            self._on_line(_shown(self._begun))
        self._begun = b""


def _shown(line: bytes) -> str:
    """A progress bar rewrites its line with carriage returns: only what stood there last is worth keeping."""
    return line.decode("utf-8", errors="replace").rstrip().rpartition("\r")[2]


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ask the group to stop as Ctrl-C would, and kill what is left of it after the grace."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
