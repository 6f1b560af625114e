"""Ends a process together with its parent, however that ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int | None = None) -> None:
    """Ask Linux to end this process with the one that started it.

    A killed ``dvc repro`` would otherwise leave its stage at work, and what that writes could come after what a
    second run has written or restored; a killed stage would leave its workers, and a killed worker its run.

    Args:
        parent: the number of the process that started this one, where it is known from before: if that is over by now,
            Linux would never tell, and this process ends at once.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if parent is not None and os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
