"""When a stage's share of the time limit is over, by the monotonic clock, which nobody sets back."""

from __future__ import annotations

import time
from dataclasses import dataclass

from graft.core.errors import GraftError


class OutOfTimeError(GraftError):
    """The time limit passed while something was trained."""


@dataclass(frozen=True)
class Deadline:
    """A point of this machine's monotonic clock, in seconds; the same for all of its processes."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """So many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def has_passed(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self.at


def require_time(deadline: Deadline | None, doing: str) -> None:
    """Go on where there is time left, or no limit.

    Raises:
        OutOfTimeError: there is none.
    """
    if deadline is not None and deadline.has_passed:
        raise OutOfTimeError(
            f"the time limit passed while {doing}", where="time_limit", remedy="give it more minutes, or none"
        )
