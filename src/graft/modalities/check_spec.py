"""What a check is: an expectation about the data, how severe it is, and how to say it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from graft.core.settings import Severity, SeverityChoice, Validation

TableName = Literal["images", "classes", "class_set", "drift"]
BETWEEN = "ExpectColumnValuesToBeBetween"
IN_SET = "ExpectColumnValuesToBeInSet"


@dataclass(frozen=True)
class CheckSpec:
    """One expectation.

    Attributes:
        name: short and unique; the key in ``validation.severity``.
        table: which table of :mod:`graft.data.validation.tables` it is about.
        severity: the default.
        expectation: the name of a class of ``great_expectations.expectations``.
        column: the column it reads; None where it counts rows.
        arguments: the expectation's other arguments, or None where the thresholds switch it off.
        says: what is expected, in words.
        remedy: what to do where it is not met.
        found: format of the value that was found; a table with a column ``found`` has it in words already.
        needed: training cannot work where it is not met, so it can be neither a warning nor ignored.
        dataset_level: it is about the set of samples as a whole, of which quarantine leaves none out.
        whole_class: quarantine leaves out every sample of a class that breaks it.
        explains: checks that the same files break for the same reason, so that they need no finding of their own.
        exempt_column: a boolean column; quarantine keeps the rows where it is true (the first of the copies).
        missing_reason: why the column may be missing from the table; the check does not apply then.
    """

    name: str
    table: TableName
    severity: Severity
    expectation: str
    column: str | None
    arguments: Callable[[Validation], Mapping[str, Any] | None]
    says: Callable[[Validation], str]
    remedy: str
    found: str = "{}"
    needed: bool = False
    exempt_column: str | None = None
    dataset_level: bool = False
    whole_class: bool = False
    explains: tuple[str, ...] = ()
    missing_reason: str | None = None

    @property
    def choices(self) -> tuple[SeverityChoice, ...]:
        """The severities it can have: not all can leave files out, and what training needs cannot be ignored."""
        leaves_out = self.whole_class or (self.table == "images" and not self.dataset_level)
        quarantine: tuple[SeverityChoice, ...] = ("quarantine",) if leaves_out else ()
        return ("critical", *quarantine) if self.needed else ("critical", "warning", *quarantine, "ignore")
