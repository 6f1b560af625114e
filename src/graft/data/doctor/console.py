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
        _say(console, f"  {count:>7}  {_visible(name)}")
    if len(audit.classes) > _CLASSES_SHOWN:
        _say(console, f"           and {len(audit.classes) - _CLASSES_SHOWN} more classes")
    _show_skipped(audit, console)
    for finding in by_cause(audit.findings):
        _show_finding(finding, console)
    _say(console, "")
    _show_verdict(audit, console)


def print_fix_command(audit: Audit, console: Console) -> None:
    """Print the command that would write a cleaned copy, where it would mend anything."""
    if hint := _hint(audit):
        _say(console, hint, hanging="  ")


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
            _show_finding(finding, console)
    if left:
        _say(console, f"\nStill critical in the copy: {', '.join(finding.check for finding in left)}.")
    _show_verdict(after, console, "the cleaned copy")


def _show_skipped(audit: Audit, console: Console) -> None:
    for why, count in sorted(Counter(item.why for item in audit.skipped).items()):
        named = [item.path for item in audit.skipped if item.why == why][:_FILES_SHOWN]
        _say(console, f"passed over: {count} ({why}), such as {', '.join(named)}", hanging="  ", style="dim")
    if any(item.why in FOLLOWABLE for item in audit.skipped):
        advice = "  --follow-links (data.follow_links in params.yaml) reads what such links lead to"
        _say(console, advice, hanging="  ", style="dim")


def _show_finding(finding: Finding, console: Console) -> None:
    broken = f"; broken by {finding.count}" if finding.failing else ""
    _say(
        console,
        f"\n{finding.severity} {finding.check}: expected that {finding.says}{broken}",
        hanging="  ",
        mark=_MARKS[finding.severity],
    )
    shown = finding.failing[:_FILES_SHOWN]
    for item in shown:
        _say_file(console, item.source, item.value)
    if len(finding.failing) > len(shown):
        more = len(finding.failing) - len(shown)
        _say(console, f"    and {counted(more, 'more file')} (all of them with --json)")
    if finding.also:
        _say(console, f"  for the same reason these are not met: {', '.join(finding.also)}", hanging="    ")
    if finding.remedy:
        _say(console, f"  remedy: {finding.remedy}", hanging="    ")


def _say_file(console: Console, name: str, value: str) -> None:
    """A file and what is wrong with it: the name is never broken, since people copy it."""
    line = f"    {name}"
    if not value or len(line) + 2 + len(value) <= _width(console):
        console.print(line, end="  " if value else "\n", markup=False)
        if value:
            console.print(value, style="dim", markup=False)
        return
    console.print(line, markup=False)
    _say(console, f"        {value}", hanging="        ", style="dim")


def _show_verdict(audit: Audit, console: Console, what: str = "this data") -> None:
    if audit.refused:
        _say(console, f"Training on {what} would be refused. Mend what is critical first.", style="bold red")
        return
    split = audit.split
    left_out = f", {split['left_out']} left out" if split["left_out"] else ""
    broken = len(by_cause(audit.findings))
    sizes = f"{split['train']} images to train on, {split['test']} to test on{left_out}"
    _say(console, f"Training on {what} would go ahead: {sizes}.", style="bold green")
    if audit.facts["divided"]:
        _say(console, "That is how the data comes divided; where it has no test, its val is the test.")
    checks = f"{len(audit.findings)} checks were made"
    _say(console, f"{checks}; look at the {counted(broken, 'warning')} above." if broken else f"{checks}, all are met.")


def _hint(audit: Audit) -> str:
    table = Path(audit.source).suffix.lower()
    broken = {finding.check for finding in audit.findings if not finding.success and finding.failing}
    mendable = broken if table in SUFFIXES else broken & _MENDABLE
    if not mendable:
        return ""
    target = f"cleaned{table if table in SUFFIXES else '.csv'}"
    what = "a copy with the changes proposed above" if table in SUFFIXES else "a table that lists the good files only"
    return f"`graft doctor {shlex.quote(audit.source)} --fix {target}` writes {what}."


def _overview(audit: Audit) -> str:
    facts = audit.facts
    if not facts:
        return "nothing to examine"
    said = f"{audit.images} images of {len(audit.classes)} classes"
    if "formats" in facts:
        said += (
            f", {facts['smallest_side']} to {facts['largest_side']} px" if facts["smallest_side"] else ", none readable"
        )
        formats = ", ".join(f"{count} {name}" for name, count in facts["formats"].items())
        said += f" ({formats})" if formats else ""
    return said


def _visible(name: str) -> str:
    """A class's name, quoted where its ends could not be seen."""
    return name if name == name.strip() and name.isprintable() and name else repr(name)


def _width(console: Console) -> int:
    """Where lines are broken: only on a terminal. What goes into a pipe or file keeps a statement on a line."""
    return min(console.width, _WIDEST) if console.is_terminal else sys.maxsize


def _say(console: Console, text: str, *, hanging: str = "", style: str = "", mark: str = "") -> None:
    """Print a paragraph, wrapped between words only; ``mark`` is the style of its first word."""
    before = "\n" if text.startswith("\n") else ""
    wrapped = textwrap.fill(
        text.removeprefix("\n"),
        _width(console),
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
    first, space, rest = wrapped.partition(" ") if mark else ("", "", wrapped)
    if mark:
        console.print(before + first, style=mark, end=space, markup=False)
        before = ""
    console.print(before + rest, style=style or None, markup=False)
