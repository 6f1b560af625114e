"""What a worker does around an item, wherever it runs: the parent's folder, as many threads as it may use, no bars.

Nothing heavy is imported here: threads have to be settled before NumPy and PyTorch are.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from graft.mapper.base import Failure, Outcome, outcome_of
from graft.telemetry import switch_off
from graft.threads import variables_for, wait_briefly

# What the parent was told and the worker shall follow: whether it may download, and where it keeps things.
HANDED_ON = ("GRAFT_CACHE", "GRAFT_DEBUG", "GRAFT_OFFLINE")


@dataclass(frozen=True)
class Surroundings:
    """What an item's work finds around it, the same on every worker.

    Attributes:
        folder: the current folder, absolute; relative paths in settings start there.
        threads: that the work may use; None: it computes nothing heavy, and they are left alone.
        variables: of the environment, name and value.
    """

    folder: Path
    threads: int | None = None
    variables: tuple[tuple[str, str], ...] = ()

    @classmethod
    def here(cls, threads: int | None) -> Surroundings:
        """Those of this process."""
        handed_on = tuple((name, os.environ[name]) for name in HANDED_ON if name in os.environ)
        return cls(Path.cwd(), threads, handed_on)

    def with_threads(self, threads: int) -> Surroundings:
        """The same with so many threads."""
        return replace(self, threads=threads)

    def run(self, work: Callable[[Any], Any], item: Any) -> Outcome:
        """Do the work on one item; an error comes back as a value that any process can read."""
        outcome = outcome_of(self._surrounded(work), item)
        if not isinstance(outcome, Failure):
            return outcome
        if os.environ.get("GRAFT_DEBUG") == "1":
            traceback.print_exception(outcome.error)
        return outcome.portable()

    def _surrounded(self, work: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def surrounded(item: Any) -> Any:
            with set_for_now(self.environment), inside(self.folder):
                if self.threads is None:
                    return work(item)
                from threadpoolctl import threadpool_limits

                from graft.determinism import make_deterministic

                # Each time: PyTorch keeps its count by thread, and engines choose the thread. The variables are read
                # when a library is loaded, and a cluster's worker may have loaded NumPy long ago.
                make_deterministic(self.threads)
                with threadpool_limits(self.threads):
                    return work(item)

        return surrounded

    @property
    def environment(self) -> dict[str, str]:
        """Everything that is said through the environment."""
        threads = {} if self.threads is None else variables_for(self.threads)
        # A bar per worker on one terminal would be none.
        return {"TTY_COMPATIBLE": "0", **threads, **dict(self.variables)}


def prepare() -> None:
    """What a new worker of this machine does before all else."""
    switch_off()
    wait_briefly()


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work in a folder; a cluster's worker serves others after us, so it is put back."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def set_for_now(variables: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment, and put them back; processes begun meanwhile keep them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def facts(token: Path) -> dict[str, Any]:
    """What must be the same on every worker, and what it has: see :mod:`graft.mapper.checks`."""
    from graft.determinism import available_cores
    from graft.mapper.checks import code_here

    try:
        seen = token.read_text(encoding="utf-8")
    except OSError:
        seen = ""
    return {
        "host": os.uname().nodename if hasattr(os, "uname") else "",
        "cores": available_cores(),
        "code": code_here(),
        "python": ".".join(map(str, sys.version_info[:2])),
        "token": seen,
    }
