"""What validation found: one Finding per expectation, and whether the data is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from graft.core.settings import Severity

About = Literal["file", "class", "feature"]


@dataclass(frozen=True)
class FailingItem:
    """One file that broke an expectation, or that is an example of what did.

    Attributes:
        path: relative to data/raw, or to the examined folder; empty where there is no file to show.
        source: who broke it, as the user knows it: the file's path, or the name of a feature or class.
        value: what was found, in words or figures.
    """

    path: str
    source: str
    value: str


@dataclass(frozen=True)
class Finding:
    """The result of one expectation.

    Attributes:
        check: its name.
        severity: ``critical`` stops the run, ``warning`` reports, ``quarantine`` leaves the files out and lists them.
        success: whether the data meets it.
        says: what is expected, in words.
        count: how many broke it: files, classes or features.
        failing: the files that broke it; of a class that broke it, its first files.
        remedy: what to do.
        left_out: paths of the files that it leaves out; some only where it is of severity ``quarantine``.
        about: what it is about, and so what is counted.
        cause: the check whose finding explains this one; None where it stands for itself.
        also: the checks that it explains; its severity is then the worst of theirs and its own.
    """

    check: str
    severity: Severity
    success: bool
    says: str
    count: int = 0
    failing: tuple[FailingItem, ...] = ()
    remedy: str = ""
    left_out: tuple[str, ...] = ()
    about: About = "file"
    cause: str | None = None
    also: tuple[str, ...] = ()

    @property
    def stops(self) -> bool:
        """Does this alone refuse the data?"""
        return not self.success and self.severity == "critical"

    def sentence(self, most: int = 3) -> str:
        """The finding in one line, naming at most ``most`` files."""
        if self.success:
            return f"{self.check}: {self.says}"
        named = ", ".join(
            f"{item.source} ({item.value})" if item.value else item.source for item in self.failing[:most]
        )
        more = f" and {len(self.failing) - most} more" if len(self.failing) > most else ""
        so = f"; so are not met: {', '.join(self.also)}" if self.also else ""
        return f"{self.check}: {self.says}; broken by {self.count}" + (f": {named}{more}" if named else "") + so

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``files`` lists paths; ``sources`` who broke it, and ``details`` what was found, for each."""
        values = asdict(self)
        failing = values.pop("failing")
        return {
            **values,
            "files": [item["path"] for item in failing if item["path"]],
            "sources": [item["source"] for item in failing],
            "details": [item["value"] for item in failing],
        }


def by_cause(findings: Iterable[Finding]) -> list[Finding]:
    """What is not met, a finding for each cause, the gravest first, and of equals those that explain the most."""
    order: dict[Severity, int] = {"critical": 0, "quarantine": 1, "warning": 2}
    broken = [finding for finding in findings if not finding.success and finding.cause is None]
    return sorted(broken, key=lambda finding: (order[finding.severity], -len(finding.also)))


def explained(findings: Sequence[Finding], explains: Mapping[str, Sequence[str]]) -> tuple[Finding, ...]:
    """The findings, each with its cause where the files of another one explain it.

    Args:
        findings: in any order.
        explains: under a check's name those that its files break for the same reason.
    """
    found = {finding.check: finding for finding in findings}
    for name, consequences in explains.items():
        head = found.get(name)
        if head is None or head.success or head.severity == "quarantine":
            continue
        files = {item.path for item in head.failing}
        for other in (found[item] for item in consequences if item in found):
            free = not other.success and other.severity != "quarantine" and other.cause is None
            if free and other.failing and {item.path for item in other.failing} <= files and other.check != head.cause:
                found[other.check] = replace(other, cause=name)
                severity = "critical" if "critical" in (head.severity, other.severity) else head.severity
                head = replace(head, also=(*head.also, other.check, *other.also), severity=severity)
                found[name] = head
    return tuple(found[finding.check] for finding in findings)


def refuses(findings: Iterable[Finding]) -> bool:
    """Is there any finding that stops the run?"""
    return any(finding.stops for finding in findings)
