"""Recognises out-of-memory errors of PyTorch, NumPy, Python and Linux, and frees memory."""

from __future__ import annotations

import gc
import re

# How PyTorch says it on the CPU and on a GPU, and what NumPy, Python and Linux say.
_RAN_OUT = re.compile(
    r"(?:can't|cannot) allocate memory|not enough memory|out of memory|unable to allocate", re.IGNORECASE
)
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
