"""What a user reads when the work is refused: what happened, where, and what to do about it."""

from __future__ import annotations

import difflib
import errno
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from graft.core.broken_pipe import UNREAD, drop_output, nobody_reads
from graft.core.memory import shortage

T = TypeVar("T")


class GraftError(Exception):
    """A refusal or failure that the user can act on.

    Args:
        what: one sentence that says what is wrong.
        where: the file, key or address it is about, if there is one.
        remedy: one sentence that says what to do, if anything can be done.
    """

    def __init__(self, what: str, *, where: object = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.remedy = remedy
        super().__init__(self.message())

    def message(self) -> str:
        """The whole message: a line for each part that is present."""
        lines = [self.what]
        if self.where is not None:
            lines.append(f"  where: {self.where}")
        if self.remedy is not None:
            lines.append(f"  remedy: {self.remedy}")
        return "\n".join(lines)


class ConfigError(GraftError):
    """A key or value of params.yaml that cannot be used."""


class DataError(GraftError):
    """A folder, table or image that cannot be used."""


class WeightsError(GraftError):
    """Pretrained weights that are missing, or that do not fit the architecture."""

    @classmethod
    def no_file(cls, path: Path) -> WeightsError:
        """The user's own file, which is not at ``path``."""
        remedy = "put it there, or mend the path in zoo.candidates in params.yaml"
        return cls("the weights file is not there", where=path.absolute(), remedy=remedy)


class TrainingError(GraftError):
    """Training that cannot go on, such as a loss that is not finite."""


class WorkerKilledError(GraftError):
    """A process that worked for another and was killed, as happens when memory runs out."""


class ServiceError(GraftError):
    """A service that cannot be asked: not there, busy, failing, or not willing."""


class GateError(GraftError):
    """A model that the gate refuses to package."""


class VersionError(GraftError):
    """A version of the model or the data that cannot be kept, sent, or brought back."""


def each(items: Iterable[T], work: Callable[[T], object], refusal: type[GraftError] = GraftError) -> None:
    """Do ``work`` on every item, those after a refused one too; all refusals but the last are printed.

    Raises:
        GraftError: the last refusal.
    """
    refused: list[GraftError] = []
    for item in items:
        try:
            work(item)
        except refusal as error:
            refused.append(error)
    for earlier in refused[:-1]:
        print(f"error: {earlier.message()}", file=sys.stderr)
    if refused:
        raise refused[-1]


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names most like ``name``, best first; empty when none is alike."""
    return difflib.get_close_matches(name, list(known), n=count, cutoff=0.5)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A remedy sentence for an unknown name: the nearest valid ones, or else all of them."""
    names = sorted(known)
    close = nearest(name, names)
    if close:
        return f"did you mean {' or '.join(repr(item) for item in close)}?"
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"valid names are: {listed}"


def exit_code(work: Callable[[], object]) -> int:
    """Run ``work`` and turn what it raises into one message on stderr and an exit code.

    Returns 0 when it is done, 1 when it was refused or failed, 130 when interrupted, and 141, without a message, when
    nobody reads what it prints any more (``| head -1``). A traceback is shown only with ``GRAFT_DEBUG=1``.
    """
    debug = os.environ.get("GRAFT_DEBUG") == "1"
    try:
        work()
        sys.stdout.flush()  # a closed pipe is noticed here, and not by the interpreter at its end
    except GraftError as error:
        if debug:
            traceback.print_exc()
        print(f"error: {error.message()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted: what was finished is kept; run the same command again to go on", file=sys.stderr)
        return 130
    except OSError as error:
        if isinstance(error, BrokenPipeError) and nobody_reads():
            drop_output()
            return UNREAD
        if debug:
            traceback.print_exc()
        print(f"error: {(_of_the_disk(error) or _of_memory(error) or _unexpected(error)).message()}", file=sys.stderr)
        return 1
    except Exception as error:  # the last net: a fault of graft itself must still end in one message
        if debug:
            traceback.print_exc()
        print(f"error: {(_of_memory(error) or _unexpected(error)).message()}", file=sys.stderr)
        return 1
    return 0


def _unexpected(error: Exception) -> GraftError:
    return GraftError(
        f"unexpected {type(error).__name__}: {error}",
        remedy="run again with GRAFT_DEBUG=1 for the traceback, and report it with that",
    )


def _of_memory(error: Exception) -> GraftError | None:
    """What a user can mend: work that is too large for this machine or its GPU."""
    short = shortage(error)
    if short is None:
        return None
    return GraftError(
        short,
        remedy="end other programs, or take less at once: train.batch_size, compute.workers, or a smaller network or "
        "size in zoo.candidates",
    )


def _of_the_disk(error: OSError) -> GraftError | None:
    """What a user can mend: a disk that is full, or that cannot be written to."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        remedy = "make room there and run again; nothing half-written was left"
    elif error.errno == errno.EROFS:
        remedy = "run in a folder that can be written to"
    else:
        return None
    return GraftError(
        f"the results cannot be written: {os.strerror(error.errno)}", where=error.filename or Path.cwd(), remedy=remedy
    )
