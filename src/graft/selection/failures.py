"""Candidates that fail: what counts as a candidate's own failure, and its reason in one line."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from graft.core.errors import ConfigError, GraftError, TrainingError, WeightsError
from graft.core.memory import free_memory, shortage

if TYPE_CHECKING:
    from graft.core.settings import Candidate
    from graft.selection.candidates import CandidateResult

T = TypeVar("T")

# What one candidate can do wrong while the others go on: its settings, weights, memory and numbers. Images that
# cannot be read (DataError) and disks that are full (OSError) would befall the next one too, so they end the stage.
OWN = (ConfigError, WeightsError, TrainingError, MemoryError, RuntimeError, ValueError, ArithmeticError)
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
    before: CandidateResult | None = None


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
    if short := shortage(error):
        return short
    if not isinstance(error, GraftError):
        text = f"{type(error).__name__}: {error}"
    else:
        text = error.what if error.where is None else f"{error.what} ({error.where})"
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


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
