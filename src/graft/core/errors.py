"""Errors that name what is wrong, where, and the remedy."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

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
    """A worker process that was killed, as happens when memory runs out."""


class ServiceError(GraftError):
    """A service that cannot be used: unreachable, busy, failing, or refusing the key."""


class GateError(GraftError):
    """A model that the gate refuses to package."""


class VersionError(GraftError):
    """A version of the model or the data that cannot be kept, sent, or brought back."""


def each(items: Iterable[T], work: Callable[[T], object], refusal: type[GraftError] = GraftError) -> None:
    """Call ``work`` on every item; errors of the class ``refusal`` do not stop it, and all but the last are printed.

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
    """The known names most similar to ``name``, best first; empty when none is similar."""
    return difflib.get_close_matches(name, list(known), n=count, cutoff=0.5)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A remedy sentence for an unknown name: the nearest valid ones, or else all of them."""
    names = sorted(known)
    close = nearest(name, names)
    if close:
        return f"did you mean {' or '.join(repr(item) for item in close)}?"
    listed = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    return f"valid names are: {listed}"
