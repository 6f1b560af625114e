"""Output that nobody reads any more, as of ``graft history | head -1``: it ends a command, and needs no message."""

from __future__ import annotations

import os
import select
import sys

# As a shell reports a command that was ended by such a pipe: 128 and SIGPIPE, which Windows has not.
UNREAD = 141


def nobody_reads() -> bool:
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
    asked = select.poll()
    asked.register(output, 0)  # that it is broken is told without asking
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in asked.poll(0))


def drop_output() -> None:
    """Send what is still written to standard output nowhere: the interpreter's end would complain of it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
