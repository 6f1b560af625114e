"""The sections of report and model card: each is a function and a row of SECTIONS, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graft.reporting.blocks import Block
from graft.reporting.context import ReportContext
from graft.reporting.sections.background import cost, data, method, selection, settings, training
from graft.reporting.sections.confidence import confidence
from graft.reporting.sections.failures import classes, errors, labels, ranking, slices
from graft.reporting.sections.summary import production, transfer, use


@dataclass(frozen=True)
class Section:
    """A row of the table.

    Attributes:
        anchor: its id on the page; what a task lists under ``report_sections``.
        short: its name in the page's navigation.
        title: its heading.
        blocks: what it shows; where that is nothing, the section is left out.
    """

    anchor: str
    short: str
    title: str
    blocks: Callable[[ReportContext], Sequence[Block]]


SECTIONS = (
    Section("production", "Production", "Against the production model", production),
    Section("use", "Use", "What it is for, and what not", use),
    Section("transfer", "Transfer", "Does transfer help?", transfer),
    Section("errors", "Errors", "Where it fails", errors),
    Section("slices", "Slices", "Is it weaker somewhere?", slices),
    Section("labels", "Labels", "Are the training labels right?", labels),
    Section("classes", "Classes", "Class by class", classes),
    Section("ranking", "Ranking", "Does it rank well?", ranking),
    Section("confidence", "Confidence", "Can its confidence be believed?", confidence),
    Section("selection", "Selection", "How it was chosen", selection),
    Section("training", "Training", "How it was trained", training),
    Section("cost", "Cost", "What it costs to run", cost),
    Section("data", "Data", "The data", data),
    Section("measured", "Method", "How it was measured", method),
    Section("settings", "Settings", "Settings and model", settings),
)


def sections_of(context: ReportContext) -> list[tuple[Section, Sequence[Block]]]:
    """The sections that fit the task and have something to show, with what that is."""
    fitting = [section for section in SECTIONS if section.anchor in context.evaluation.held_out.task.report_sections]
    found = [(section, section.blocks(context)) for section in fitting]
    return [(section, blocks) for section, blocks in found if blocks]
