"""What `graft doctor` prints for a person: what it is, what was passed over, what is wrong and what to do."""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from graft.data.sources.listing import counted
from graft.data.sources.scan import FOLLOWABLE
from graft.data.sources.tables.reader import SUFFIXES
from graft.data.validation.findings import Finding, by_cause

if TYPE_CHECKING:
    from rich.console import Console

    from graft.data.doctor.audit import Audit
    from graft.data.doctor.cleaned_copy import CleanedCopy

_NO_PROJECT = "graft's defaults: no params.yaml is here, nor in a folder above"
_MARKS = {"critical": "bold red", "quarantine": "magenta", "warning": "yellow"}
_FILES_SHOWN = 5
_CLASSES_SHOWN = 20
_WIDEST = 100
# What `--fix` can mend in any source; of a table it mends more.
_MENDABLE = {"decodable", "label_conflict"}


def print_audit(audit: Audit, console: Console) -> None:
    """Print an audit."""
    _say(console, f"{audit.source}: {_overview(audit)}", hanging="  ", style="bold")
    _say(console, f"  held to {audit.settings or _NO_PROJECT}")
    for name, count in list(audit.classes.items())[:_CLASSES_SHOWN]:
        # Quoted where its ends could not be seen.
        shown = name if name == name.strip() and name.isprintable() and name else repr(name)
        _say(console, f"  {count:>7}  {shown}")
    if len(audit.classes) > _CLASSES_SHOWN:
        _say(console, f"           and {len(audit.classes) - _CLASSES_SHOWN} more classes")
    for why, count in sorted(Counter(item.why for item in audit.skipped).items()):
        named = [item.path for item in audit.skipped if item.why == why][:_FILES_SHOWN]
        _say(console, f"passed over: {count} ({why}), such as {', '.join(named)}", hanging="  ", style="dim")
    if any(item.why in FOLLOWABLE for item in audit.skipped):
        advice = "  --follow-links (data.follow_links in params.yaml) reads what such links lead to"
        _say(console, advice, hanging="  ", style="dim")
    for finding in by_cause(audit.findings):
        _print_finding(finding, console)
    _say(console, "")
    _print_verdict(audit, console)


def print_fix_command(audit: Audit, console: Console) -> None:
    """Print the command that would write a cleaned copy, where it would mend anything."""
    suffix = Path(audit.source).suffix.lower()
    is_table = suffix in SUFFIXES
    broken = {finding.check for finding in audit.findings if not finding.success and finding.failing}
    if broken if is_table else broken & _MENDABLE:
        command = f"graft doctor {shlex.quote(audit.source)} --fix cleaned{suffix if is_table else '.csv'}"
        copy = "a copy with the changes proposed above" if is_table else "a table that lists the good files only"
        _say(console, f"`{command}` writes {copy}.", hanging="  ")


def print_cleaned(cleaned: CleanedCopy, before: Audit, after: Audit, console: Console) -> None:
    """Print what was written, and whether the copy can be trained on; what was said of the original is not repeated."""
    _say(
        console,
        f"\nWrote {cleaned.table}: {cleaned.kept} of {cleaned.total} images. {cleaned.log} lists the "
        f"{counted(cleaned.changes, 'change')}. Nothing of the original was touched.",
    )
    said = {finding.check for finding in before.findings if finding.stops}
    left = [finding for finding in by_cause(after.findings) if finding.stops]
    for finding in left:
        if finding.check not in said:
            _print_finding(finding, console)
    if left:
        _say(console, f"\nStill critical in the copy: {', '.join(finding.check for finding in left)}.")
    _print_verdict(after, console, "the cleaned copy")


def _overview(audit: Audit) -> str:
    facts = audit.facts
    if not facts:
        return "nothing to examine"
    said = f"{audit.images} images of {len(audit.classes)} classes"
    if "formats" not in facts:
        return said
    sides = f"{facts['smallest_side']} to {facts['largest_side']} px" if facts["smallest_side"] else "none readable"
    formats = ", ".join(f"{count} {name}" for name, count in facts["formats"].items())
    return f"{said}, {sides}" + (f" ({formats})" if formats else "")


def _print_finding(finding: Finding, console: Console) -> None:
    broken = f"; broken by {finding.count}" if finding.failing else ""
    said = f"\n{finding.severity} {finding.check}: expected that {finding.says}{broken}"
    _say(console, said, hanging="  ", mark=_MARKS[finding.severity])
    for item in finding.failing[:_FILES_SHOWN]:
        # A name is never broken, since people copy it.
        line = f"    {item.source}"
        fits = not item.value or len(line) + 2 + len(item.value) <= _width(console)
        console.print(line, end="  " if item.value and fits else "\n", markup=False)
        if item.value and fits:
            console.print(item.value, style="dim", markup=False)
        elif item.value:
            _say(console, f"        {item.value}", hanging="        ", style="dim")
    if len(finding.failing) > _FILES_SHOWN:
        more = counted(len(finding.failing) - _FILES_SHOWN, "more file")
        _say(console, f"    and {more} (all of them with --json)")
    if finding.also:
        _say(console, f"  for the same reason these are not met: {', '.join(finding.also)}", hanging="    ")
    if finding.remedy:
        _say(console, f"  remedy: {finding.remedy}", hanging="    ")


def _print_verdict(audit: Audit, console: Console, what: str = "this data") -> None:
    if audit.refused:
        _say(console, f"Training on {what} would be refused. Mend what is critical first.", style="bold red")
        return
    split = audit.split
    left_out = f", {split['left_out']} left out" if split["left_out"] else ""
    sizes = f"{split['train']} images to train on, {split['test']} to test on{left_out}"
    _say(console, f"Training on {what} would go ahead: {sizes}.", style="bold green")
    if audit.facts["divided"]:
        _say(console, "That is how the data comes divided; where it has no test, its val is the test.")
    broken = len(by_cause(audit.findings))
    met = f"look at the {counted(broken, 'warning')} above." if broken else ""
    _say(console, f"{len(audit.findings)} checks were made" + (f"; {met}" if met else ", all are met."))


def _width(console: Console) -> int:
    """Where lines are broken: only on a terminal. What goes into a pipe or file keeps a statement on a line."""
    return min(console.width, _WIDEST) if console.is_terminal else sys.maxsize


def _say(console: Console, text: str, *, hanging: str = "", style: str = "", mark: str = "") -> None:
    """Print a paragraph, wrapped between words only; ``mark`` is the style of its first word."""
    if text.startswith("\n"):
        console.print()
    wrapped = textwrap.fill(
        text.removeprefix("\n"),
        _width(console),
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
    if mark:
        first, space, wrapped = wrapped.partition(" ")
        console.print(first, style=mark, end=space, markup=False)
    console.print(wrapped, style=style or None, markup=False)
