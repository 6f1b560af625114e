"""model_card.md: what the report says, as Markdown that lies beside a model and is read in a repository or a mail.

After Mitchell et al., "Model Cards for Model Reporting", FAT* 2019: what the model is, what it is for and not for, how
good it is and on what, how it was made. No pictures: those are in report.html.
"""

from __future__ import annotations

import re
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING

from graft.evaluate import findings, incumbent, page_facts, page_tables, wording
from graft.evaluate.leaderboard_table import leaderboard_tables, why_chosen
from graft.evaluate.page_head import tiles

if TYPE_CHECKING:
    from graft.evaluate.exhibits import Table
    from graft.evaluate.report import Exhibits
    from graft.evaluate.result import Evaluation

# Rows of a table; a card is read, and not searched.
MOST_ROWS = 30
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~$&])")


def render_card(found: Evaluation, exhibits: Exhibits) -> str:
    """The whole card as Markdown."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"md": escaped, "table": table}
    template = environment.from_string((files("graft.evaluate") / "model_card.md.j2").read_text(encoding="utf-8"))
    board = exhibits.leaderboard
    return template.render(
        name=exhibits.artifact.name,
        version=version("graft"),
        title=wording.title(found),
        lead=wording.lead(found),
        tiles=tiles(found),
        incumbent=incumbent.in_words(found.incumbent),
        purpose=wording.purpose(found),
        limits=wording.limits(found, found.trusted.trust.novelty.distance is not None),
        transfer=wording.transfer_sentence(found.transfer),
        verdict=found.transfer.verdict,
        errors=wording.errors_sentence(found),
        confused=page_tables.confused_rows(found),
        slices=findings.slices_sentence(exhibits.slices, found.scores["accuracy"].value or 0.0),
        suspects=findings.suspects_sentence(exhibits.suspects, len(exhibits.suspects.found)),
        classes=page_tables.classes_rows(found),
        confidence=wording.confidence_sentence(found),
        calibration=findings.calibration_sentence(found.trusted),
        coverage=findings.coverage_sentence(found.trusted),
        novelty=findings.novelty_sentence(found.trusted),
        leaderboard=None if board is None else leaderboard_tables(board)[0],
        why="" if board is None else why_chosen(board),
        costs=page_facts.costs(found.cost),
        cost_note=wording.cost_note(found.cost),
        data=page_facts.data(found, exhibits.excluded),
        data_note=wording.data_note(found),
        metrics=page_tables.metrics_rows(found),
        method=wording.method(found),
        facts=page_facts.model(exhibits.artifact),
    )


def escaped(text: str) -> str:
    """Text in which nothing is taken for Markdown or HTML, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def table(shown: Table) -> str:
    """A table of the page as Markdown, notes last; at most ``MOST_ROWS`` rows, the chosen one bold."""
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
