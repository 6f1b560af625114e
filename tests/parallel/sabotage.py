"""A mapper that strikes one candidate's probing down on its worker, in ways that no code of graft can catch."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft.core.settings import Candidate
from graft.parallel.mapper import PoolMapper
from graft.parallel.outcomes import Done, Failure


@dataclass(frozen=True)
class Sabotaged:
    """The work, but for one item."""

    work: Callable[[Any], Any]
    victim: Candidate
    how: str

    def __call__(self, item: Any) -> Any:
        if item != self.victim:
            return self.work(item)
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        return self._starved(item)

    def _starved(self, item: Any) -> Any:
        """Room for 100 MB more: VGG-16's first linear layer takes 411."""
        import torch

        torch.empty(1)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (used + 100_000_000, before[1]))
        try:
            return self.work(item)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)


@dataclass(frozen=True)
class Sabotaging(PoolMapper):
    """Maps as the engine does, with ``victim`` struck down ``how``: ``kill`` or ``starve``."""

    victim: Candidate
    how: str

    def map(self, work: Callable[[Any], Any], items: Sequence[Any], shown: str) -> Iterator[Done[Any] | Failure]:
        return super().map(Sabotaged(work, self.victim, self.how), items, shown)
