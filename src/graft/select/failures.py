"""Candidates that fail: what counts as a candidate's own failure, and its reason in one line."""

from __future__ import annotations

import gc
import os
import re
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from graft.errors import ConfigError, GraftError, TrainingError, WeightsError

if TYPE_CHECKING:
    from graft.select.candidates import Result
    from graft.settings import Candidate

T = TypeVar("T")

# What one candidate can do wrong while the others go on: its settings, weights, memory and numbers. Images that
# cannot be read (DataError) and disks that are full (OSError) would befall the next one too, so they end the stage.
OWN = (ConfigError, WeightsError, TrainingError, MemoryError, RuntimeError, ValueError, ArithmeticError)
# How PyTorch says it: on the CPU, on a GPU, and what numpy and Python say.
OUT_OF_MEMORY = re.compile(r"can't allocate memory|not enough memory|out of memory|unable to allocate", re.IGNORECASE)
ASKED_FOR = re.compile(r"(?:tried to allocate|allocate)\s+([\d.]+)\s*([KMGT]i?B|bytes)", re.IGNORECASE)
LONGEST = 200


@dataclass(frozen=True)
class Failed:
    """A candidate that fell out.

    Attributes:
        candidate: as written in params.yaml.
        reason: in one line.
        seconds: that were spent on it.
        before: what was known of it until then, if anything.
    """

    candidate: Candidate
    reason: str
    seconds: float = 0.0
    before: Result | None = None


def attempt(work: Callable[[], T], doing: str) -> T | str:
    """What ``work`` returns, or why it failed, in one line that begins with what was being done.

    What the candidate held is let go of, so that the next one finds its memory.
    """
    try:
        return work()
    except OWN as error:
        if os.environ.get("GRAFT_DEBUG") == "1":
            traceback.print_exc()
        said = f"{doing}: {reason_of(error)}"
        # The traceback holds on to every tensor of the failed work.
        error.__traceback__ = None
    free_memory()
    return said


def reason_of(error: Exception) -> str:
    """What happened, in one line of at most :data:`LONGEST` characters."""
    text = error.what if isinstance(error, GraftError) else str(error)
    if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(text):
        asked = ASKED_FOR.search(text)
        return "out of memory" + (f", it asked for {_amount(*asked.groups())} more" if asked else "")
    if not isinstance(error, GraftError):
        text = f"{type(error).__name__}: {text}"
    elif error.where is not None:
        text = f"{text} ({error.where})"
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _amount(number: str, unit: str) -> str:
    return f"{float(number) / 1e9:.2g} GB" if unit.lower() == "bytes" else f"{number} {unit}"


def free_memory() -> None:
    """Give back what nothing uses any more, on a GPU too."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def refuse_all(failed: Sequence[Failed], name: Callable[[Candidate], str]) -> None:
    """Refuse where every candidate failed.

    Raises:
        GraftError: it names the first three and their reasons.
    """
    lines = "".join(f"\n    {name(item.candidate)}: {item.reason}" for item in failed[:3])
    more = f"\n    and {len(failed) - 3} more" if len(failed) > 3 else ""
    raise GraftError(
        f"every candidate failed:{lines}{more}",
        where="zoo.candidates",
        remedy="mend the first; where memory is short, take a smaller size or a smaller network",
    )
