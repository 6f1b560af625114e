"""A mapper that kills the worker of one candidate, in a way that no code of graft can catch."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from graft.core.settings import Candidate
from graft.parallel.mapper import PoolMapper
from graft.parallel.outcomes import Done, Failure


@dataclass(frozen=True)
class Sabotaged:
    """The work, but for one item."""

    work: Callable[[Any], Any]
    victim: Candidate

    def __call__(self, item: Any) -> Any:
        if item == self.victim:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.work(item)


@dataclass(frozen=True)
class Sabotaging(PoolMapper):
    """Maps as the engine does; the worker of ``victim`` dies."""

    victim: Candidate

    def map(self, work: Callable[[Any], Any], items: Sequence[Any], shown: str) -> Iterator[Done[Any] | Failure]:
        return super().map(Sabotaged(work, self.victim), items, shown)
