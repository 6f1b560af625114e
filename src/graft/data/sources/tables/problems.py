"""Problems of a table, and the changes that would fix each of them."""

from __future__ import annotations

from dataclasses import dataclass

from graft.core.settings import Severity


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
