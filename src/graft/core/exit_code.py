"""Runs a command: what it raises becomes one message on stderr and an exit code."""

from __future__ import annotations

import errno
import os
import select
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from graft.core.errors import GraftError
from graft.core.memory import shortage

# As a shell reports a command that was ended by a closed pipe: 128 and SIGPIPE, which Windows has not.
CLOSED_PIPE = 141


def exit_code(work: Callable[[], object]) -> int:
    """Run ``work`` and turn what it raises into one message on stderr and an exit code.

    Returns 0 when it is done, 1 when it was refused or failed, 130 when interrupted, and 141, without a message, when
    standard output is a closed pipe (``| head -1``). A traceback is shown only with ``GRAFT_DEBUG=1``.
    """
    try:
        work()
        sys.stdout.flush()  # a closed pipe is noticed here, and not by the interpreter at its end
    except KeyboardInterrupt:
        print("interrupted: what was finished is kept; run the same command again to go on", file=sys.stderr)
        return 130
    except Exception as error:  # the last net: a fault of graft itself must still end in one message
        if isinstance(error, BrokenPipeError) and stdout_is_closed():
            _discard_stdout()
            return CLOSED_PIPE
        if os.environ.get("GRAFT_DEBUG") == "1":
            traceback.print_exc()
        print(f"error: {_explained(error).message()}", file=sys.stderr)
        return 1
    return 0


def stdout_is_closed() -> bool:
    """Whether standard output is a pipe whose reader is gone.

    The pipe itself is asked: what was noticed to be broken may as well be a connection to a service, and once a write
    has failed the buffer is empty, so that to flush it again tells nothing.
    """
    if not hasattr(select, "poll"):  # Windows
        return False
    try:
        output = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # there is none, or it is no file
        return False
    poll = select.poll()
    poll.register(output, 0)  # errors are reported without asking for them
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _discard_stdout() -> None:
    """Redirect standard output to the null device, so that the interpreter's last flush does not fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _explained(error: Exception) -> GraftError:
    """The error for people: with a remedy where the disk or the memory is at fault."""
    if isinstance(error, GraftError):
        return error
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, OSError) and number in _DISK:
        what, where = f"the results cannot be written: {os.strerror(number)}", error.filename or Path.cwd()
        return GraftError(what, where=where, remedy=_DISK[number])
    if (short := shortage(error)) is not None:
        return GraftError(
            short,
            remedy="end other programs, or take less at once: train.batch_size, compute.workers, or a smaller network "
            "or size in zoo.candidates",
        )
    return GraftError(
        f"unexpected {type(error).__name__}: {error}",
        remedy="run again with GRAFT_DEBUG=1 for the traceback, and report it with that",
    )


_NO_ROOM = "make room there and run again; nothing half-written was left"
_DISK = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: _NO_ROOM,
    errno.EROFS: "run in a folder that can be written to",
}
