"""What was planned for the time there was, what was left out of it, and what each stage took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graft.reporting.blocks import Block, Row, Table, Text, columns

if TYPE_CHECKING:
    from graft.reporting.context import ReportContext, RunRecord


def plan(context: ReportContext) -> list[Block]:
    """The preset, the strategy and why, what was left out, and a table of stages."""
    run = context.run
    if run is None:
        return []
    limit = "without a time limit"
    if run.time_limit is not None:
        limit = f"with a time limit of {run.time_limit:g} min"
    lines = [f"Preset {run.preset}, {limit}."]
    if run.strategy:
        lines.append(f"Delivered: {run.strategy}.")
    if run.left_out:
        lines.append(f"Left out, as there was no time for it: {'; '.join(run.left_out)}.")
    return [Text(" ".join(lines)), *_stages(run)]


def _stages(run: RunRecord) -> list[Block]:
    rows = tuple(
        Row((stage, _number(run.expected.get(stage)), _number(seconds), f"{memory:,.0f}"))
        for stage, (seconds, memory) in run.took.items()
    )
    head = columns("stage", numbers="planned (s),took (s),peak memory (MB)")
    return [Table("What the stages took when they last ran", head, rows)] if rows else []


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}"
