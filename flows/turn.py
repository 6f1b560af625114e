"""Whose turn it is in a project, and which runs died: kernel locks, which go with their process however it ends.

A flow run keeps a record below ``.graft/runs`` and holds a lock beside it. A record whose lock is free is that of a run
that is over: it says how it ended, or, where the process was killed, nothing.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from filelock import BaseFileLock, FileLock, Timeout

from graft.core.errors import GraftError
from graft.core.files import write_json
from graft.core.workspace import Workspace

# The state of a run that left, because another was at work.
SKIPPED = "Skipped"
WhenBusy = Literal["wait", "leave"]
Say = Callable[[str], None]
# Who only looks whether the project is free holds it for a moment, which is not to send a run away.
LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Record:
    """A flow run: what is kept of it beside the lock that it holds while it is under way.

    Attributes:
        run: its id.
        api: address of the Prefect server that has it; empty where the process had a temporary one.
        pid: the process.
        host: the machine.
        since: when it began, in seconds since 1970.
        state: the type of the state it ended in, such as ``COMPLETED``; empty where it never came to that.
        message: what it ended with.
    """

    run: str
    api: str
    pid: int
    host: str
    since: float
    state: str = ""
    message: str = ""

    def describe(self) -> str:
        """Who it is and since when, for people; a clock that was set back makes no negative time."""
        minutes = max(0.0, time.time() - self.since) / 60
        return f"process {self.pid} on {self.host}, for {minutes:.0f} min"


class BusyError(GraftError):
    """Another run is at work in this project, and this one was told not to wait."""


@contextmanager
def recorded(workspace: Workspace, run: str, api: str) -> Iterator[Callable[[str, str], None]]:
    """Keep a record of this run; yields what writes down how it ended, to be called with its state and message.

    The record stays until the server is known to have that state: it may be away just then.
    """
    record = Record(run, api, os.getpid(), socket.gethostname(), time.time())
    with _lock(_lock_of(workspace, run)).acquire():
        write_json(_file_of(workspace, run), asdict(record))
        yield lambda state, message: write_json(
            _file_of(workspace, run), asdict(replace(record, state=state, message=message))
        )


def records(workspace: Workspace) -> list[Record]:
    """All records, oldest first."""
    found = [_read(file) for file in _runs(workspace).glob("*.json")]
    return sorted((record for record in found if record is not None), key=lambda record: record.since)


def is_over(workspace: Workspace, record: Record) -> bool:
    """Whether the run is no longer under way."""
    return _is_free(_lock_of(workspace, record.run))


def forget(workspace: Workspace, record: Record) -> None:
    """Remove the record of a run whose end the server knows."""
    _file_of(workspace, record.run).unlink(missing_ok=True)
    _lock_of(workspace, record.run).unlink(missing_ok=True)


@contextmanager
def turn(workspace: Workspace, run: str, when_busy: WhenBusy, say: Say) -> Iterator[None]:
    """Have the project alone.

    Args:
        workspace: the project.
        run: id of the flow run, for whoever finds the project busy.
        when_busy: what to do where another run is at work: wait for it, or leave.
        say: called with a line for people before waiting.

    Raises:
        BusyError: another run is at work, and ``when_busy`` is ``leave``.
    """
    guard, holder = _guard(workspace)
    try:
        guard.acquire(timeout=LOOK_SECONDS)
    except Timeout:
        if when_busy == "leave":
            raise _busy(workspace, holder) from None
        say(f"waiting for another run to finish: {_owner(holder)}")
        guard.acquire()
    try:
        write_json(holder, asdict(Record(run, "", os.getpid(), socket.gethostname(), time.time())))
        yield
    finally:
        holder.unlink(missing_ok=True)
        guard.release()


def leave_if_busy(workspace: Workspace) -> None:
    """Look whether a run has the project, without having it oneself.

    Raises:
        BusyError: one has.
    """
    guard, holder = _guard(workspace)
    try:
        with guard.acquire(timeout=0):
            return
    except Timeout:
        raise _busy(workspace, holder) from None


def _guard(workspace: Workspace) -> tuple[BaseFileLock, Path]:
    return _lock(_graft(workspace) / "flow.lock"), _graft(workspace) / "flow.json"


def _busy(workspace: Workspace, holder: Path) -> BusyError:
    return BusyError(
        f"another run is at work here: {_owner(holder)}",
        where=workspace.root,
        remedy="let it finish, or end that process; what it finished is kept",
    )


def _owner(holder: Path) -> str:
    record = _read(holder)
    return "a process that has only just begun" if record is None else record.describe()


def _read(file: Path) -> Record | None:
    """A record; None where it is gone or is no record."""
    try:
        return Record(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _is_free(path: Path) -> bool:
    try:
        with _lock(path).acquire(timeout=0):
            return True
    except Timeout:
        return False


def _lock(path: Path) -> BaseFileLock:
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path)


def _graft(workspace: Workspace) -> Path:
    return workspace.lock.parent


def _runs(workspace: Workspace) -> Path:
    return _graft(workspace) / "runs"


def _file_of(workspace: Workspace, run: str) -> Path:
    return _runs(workspace) / f"{run}.json"


def _lock_of(workspace: Workspace, run: str) -> Path:
    return _runs(workspace) / f"{run}.lock"
