"""Problems of a table, and the changes that would fix each of them."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from graft.core.errors import DataError
from graft.core.settings import Severity

_OF_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_NAMED = 5


@dataclass(frozen=True, slots=True)
class TableChange:
    """One change that would clean a table.

    Attributes:
        row: which row below the heading, counted from 1; 0 is the heading.
        path: the row's path as it was given, printable.
        column: which column; empty where it is about the whole row.
        before: what stands there.
        after: what should; None where the row or column is left out.
        why: the reason.
    """

    row: int
    path: str
    column: str
    before: str
    after: str | None
    why: str

    def named(self) -> str:
        """The changed path or value, for a list in a message."""
        name = (self.path or "(empty)") if self.column in {"", "path"} else repr(self.before)
        return name + (f" (row {self.row})" if self.row else "")

    def sentence(self) -> str:
        """What is proposed."""
        where = f"row {self.row}: " if self.row else ""
        if self.after is None:
            return f"{where}leave it out, because {self.why}" if self.row else f"leave it out: {self.why}"
        return f"{where}{self.before!r} -> {self.after!r}"


@dataclass(frozen=True, slots=True)
class TableProblem:
    """A rule that a table should meet, and the changes that would make it; none where it is met.

    Attributes:
        check: the rule's name.
        severity: ``critical`` where the table is refused for it.
        says: what is expected.
        what: what is wrong, in a sentence.
        remedy: what the user can do.
        changes: what a cleaned copy changes.
        by_hand: it is broken in a way that no change can be proposed for.
    """

    check: str
    severity: Severity
    says: str
    what: str
    remedy: str
    changes: tuple[TableChange, ...] = ()
    by_hand: bool = False

    @property
    def met(self) -> bool:
        """Whether the table meets the rule as it is."""
        return not self.changes and not self.by_hand

    def error(self, path: Path, mendable: bool) -> DataError:
        """Why the table at ``path`` is refused; with ``mendable`` it proposes ``graft doctor --fix``."""
        named = [change.named() for change in self.changes]
        more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        hints: list[str | None] = []
        if self.check == "file_there":
            hints = [item.why if item.after is not None else _foreign_path_advice(item.path) for item in self.changes]
        fix = f"`graft doctor {shlex.quote(str(path))} --fix OUT{path.suffix}` writes a cleaned copy"
        said = (self.remedy, *dict.fromkeys(hints), fix if mendable and not self.by_hand else None)
        return DataError(
            f"{self.what}: {', '.join(named[:_NAMED])}{more}" if named else self.what,
            where=path,
            remedy="; ".join(filter(None, said)),
        )


def _foreign_path_advice(name: str) -> str | None:
    """Advice on a URL or on a path of another operating system, or None."""
    if "://" in name:
        return "these are addresses, and graft downloads nothing: fetch the files, and name those"
    if os.sep == "/" and _OF_WINDOWS.match(name):
        return "these are paths of another machine: name the files relative to the table's folder"
    return None
