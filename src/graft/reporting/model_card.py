"""model_card.md: the report without its pictures as Markdown, for a repository or a mail.

After Mitchell et al., "Model Cards for Model Reporting", FAT* 2019: what the model is, what it is for and not for, how
good it is and on what, how it was made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import version
from typing import TYPE_CHECKING

from graft.reporting.blocks import Badge, Block, Bullets, FactList, Heading, Pair, Row, Table, Text, columns
from graft.reporting.sections.summary import lead, tiles, title
from graft.reporting.sections.table import sections_of

if TYPE_CHECKING:
    from graft.reporting.context import ReportContext

# Rows of a table; a card is read, and not searched.
MOST_ROWS = 30
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~$&])")


def render_model_card(context: ReportContext) -> str:
    """The whole card as Markdown."""
    found = context.evaluation
    rows = tuple(Row((tile.name, tile.value, tile.note)) for tile in tiles(found))
    parts = [
        f"# {escaped(context.artifact.name)}",
        f"**{escaped(title(found))}.** {escaped(lead(found))}",
        _table(Table("Headline figures", columns("figure", "value", ""), rows)),
    ]
    for section, blocks in sections_of(context):
        if text := _markdown(blocks):
            parts += [f"## {escaped(section.title)}", text]
    parts.append(f"Made by graft {escaped(version('graft'))}. Pictures and the rest of the proof: report.html.")
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Text in which nothing is taken for Markdown or HTML, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _markdown(blocks: Iterable[Block]) -> str:
    return "\n\n".join(text for block in blocks if (text := _block(block)))


def _block(block: Block) -> str:
    """A block as Markdown; nothing for one that is only on the page."""
    match block:
        case Text(text):
            return escaped(text)
        case Badge(text):
            return f"**{escaped(text)}**"
        case Heading(text):
            return f"### {escaped(text)}"
        case Bullets(lines):
            return "\n".join(f"- {escaped(line)}" for line in lines)
        case FactList(pairs):
            return "\n".join(f"- {escaped(name)}: {escaped(value)}" for name, value in pairs)
        case Table():
            return _table(block)
        case Pair(left, right):
            return _markdown((left, *right))
        case _:
            return ""


def _table(shown: Table) -> str:
    """Notes last; at most ``MOST_ROWS`` rows, the chosen one bold."""
    noted = any(row.note for row in shown.rows)
    head = [*((escaped(column.title), column.number) for column in shown.head), *([("", False)] if noted else [])]
    lines = [
        "| " + " | ".join(title for title, _ in head) + " |",
        "|" + "|".join(" ---: " if number else " --- " for _, number in head) + "|",
    ]
    for row in shown.rows[:MOST_ROWS]:
        cells = [escaped(cell) for cell in (*row.cells, row.note)[: len(head)]]
        lines.append("| " + " | ".join(f"**{cell}**" if row.chosen and cell else cell for cell in cells) + " |")
    left = len(shown.rows) - MOST_ROWS
    return "\n".join(lines) + (f"\n\n{left:,} more rows are in report.html." if left > 0 else "")
