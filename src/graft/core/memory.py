"""Recognises out-of-memory errors of PyTorch, NumPy, Python and Linux, frees memory, and says what was taken."""

from __future__ import annotations

import gc
import re
import sys
from pathlib import Path

# How PyTorch says it on the CPU and on a GPU, and what NumPy, Python and Linux say.
_RAN_OUT = re.compile(
    r"(?:can't|cannot) allocate memory|not enough memory|out of memory|unable to allocate", re.IGNORECASE
)
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024
_ASKED_FOR = re.compile(r"(?:tried to allocate|allocate)\s+([\d.]+)\s*([KMGTPE]i?B|bytes)", re.IGNORECASE)


def shortage(error: BaseException) -> str | None:
    """A short description of an out-of-memory error, with the amount asked for; None for other errors."""
    text = str(error)
    if not isinstance(error, MemoryError) and not _RAN_OUT.search(text):
        return None
    asked = _ASKED_FOR.search(text)
    return "out of memory" + (f", it asked for {_amount(*asked.groups())} more" if asked else "")


def _amount(number: str, unit: str) -> str:
    return f"{float(number) / 1e9:.2g} GB" if unit.lower() == "bytes" else f"{number.rstrip('.')} {unit}"


def free_memory() -> None:
    """Collect garbage and empty CUDA's cache."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def peak_bytes() -> int:
    """The most memory this process has had resident, in bytes."""
    try:
        # Not ru_maxrss: on Linux that of a parent lives on in the child that it starts.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        import resource  # which Windows lacks, where the client runs too

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT


def peak_bytes_of_children() -> int:
    """The most memory that any one child had resident, of those that ended and were waited for; 0 without any.

    On Linux a child begins with what its parent had when it started it, so small ones say that figure again.
    """
    import resource

    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _MAXRSS_UNIT
