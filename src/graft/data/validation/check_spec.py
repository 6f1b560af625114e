"""What a check is: an expectation, how severe it is, and how to say it; and what severity the user gave it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from graft.core.errors import ConfigError, did_you_mean
from graft.core.settings import Severity, SeverityChoice, Validation
from graft.data.validation.findings import About

TableName = Literal["images", "classes", "class_set", "drift"]
# The column that names a row of each table.
KEYS: Mapping[TableName, str] = {"images": "path", "classes": "label", "class_set": "label", "drift": "fact"}
# What a row of each table is.
ABOUT: Mapping[TableName, About] = {"images": "file", "classes": "class", "class_set": "class", "drift": "fact"}

_WHERE = "validation.severity"


@dataclass(frozen=True)
class Check:
    """One expectation.

    Attributes:
        name: short and unique; the key in ``validation.severity``.
        table: which table of :mod:`graft.data.validation.tables` it is about.
        severity: what holds where the user says nothing.
        expectation: the name of a class of ``great_expectations.expectations``.
        column: the column it reads; None where it counts rows.
        arguments: the expectation's other arguments, or None where the thresholds switch it off.
        says: what is expected, in words.
        remedy: what to do where it is not met.
        found: how the value that was found is written; a table with a column ``found`` says it itself.
        needed: training cannot work where it is not met, so it can be neither a warning nor ignored.
        of_set: it is about the set of images as a whole, of which quarantine leaves none out.
        whole_class: quarantine leaves out every image of a class that breaks it.
        explains: checks that the same files break for the same reason, so that they need no finding of their own.
        spared: a column of truth values; quarantine leaves in the rows where it is true (the first of the copies).
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
    spared: str | None = None
    of_set: bool = False
    whole_class: bool = False
    explains: tuple[str, ...] = ()

    @property
    def choices(self) -> tuple[SeverityChoice, ...]:
        """The severities it can have: not all can leave files out, and what training needs cannot be passed over."""
        leaves_out = self.whole_class or (self.table == "images" and not self.of_set)
        quarantine: tuple[SeverityChoice, ...] = ("quarantine",) if leaves_out else ()
        return ("critical", *quarantine) if self.needed else ("critical", "warning", *quarantine, "ignore")


def severities(checks: Iterable[Check], limits: Validation) -> dict[str, SeverityChoice]:
    """The severity of every check by name: the user's where given, else its own.

    Raises:
        ConfigError: ``validation.severity`` names no check, or gives one a severity that it cannot have.
    """
    by_name = {check.name: check for check in checks}
    for name, given in limits.severity.items():
        if name not in by_name:
            raise ConfigError(f"there is no check {name!r}", where=_WHERE, remedy=did_you_mean(name, by_name))
        check = by_name[name]
        if given not in check.choices:
            raise ConfigError(
                f"the check {name!r} cannot be {given!r}: {_why_not(check, given)}",
                where=f"{_WHERE}.{name}",
                remedy=f"set it to {' or '.join(check.choices)}, or leave it out for {check.severity}",
            )
    return {name: limits.severity.get(name, check.severity) for name, check in by_name.items()}


def _why_not(check: Check, given: SeverityChoice) -> str:
    if given == "quarantine":
        return "it is not about single files, so there are none to leave out"
    return "no model can be trained on data that does not meet it"
