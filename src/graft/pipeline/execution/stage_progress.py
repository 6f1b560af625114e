"""What a stage says at its end: what it took, and the time left; after the last stage what each of them took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from graft.core.progress import duration, rough_duration
from graft.core.workspace import Workspace
from graft.data.protected_paths import outputs_of
from graft.pipeline.execution.timing import StageTiming, expected_seconds, read_timings


def end_message(workspace: Workspace, stage: str) -> str:
    """A line such as ``select: done in 41 s, about 2 min left``; after the last stage of dvc.yaml also a table.

    Args:
        workspace: where dvc.yaml and reports/timing.json lie; the row of ``stage`` is written already.
        stage: the one that is done.
    """
    timings, order = read_timings(workspace), tuple(outputs_of(workspace.root))
    took = timings.get(stage)
    line = f"{stage}: done" + (f" in {duration(took.seconds)}" if took is not None else "")
    if stage not in order:
        return line
    later = order[order.index(stage) + 1 :]
    if not later:
        return "\n".join([line, *_table(timings, order)])
    left = seconds_left(expected_seconds(workspace), later)
    return line if left is None else f"{line}, about {rough_duration(left)} left"


def seconds_left(expected: Mapping[str, float], later: Sequence[str]) -> float | None:
    """What the stages ``later`` will take together; None where the time of one is not known."""
    return sum(expected[stage] for stage in later) if all(stage in expected for stage in later) else None


def _table(timings: Mapping[str, StageTiming], order: Sequence[str]) -> list[str]:
    """A row for each stage that ever ran. DVC runs no stage that is up to date, so the time of its last run is told."""
    rows = {stage: timings[stage] for stage in order if stage in timings}
    width = max(map(len, ["together", *rows]))
    lines = [
        f"  {stage:{width}}  {timing.seconds:8,.1f} s  {timing.peak_memory_mb:8,.0f} MB  {_ended(timing)}"
        for stage, timing in rows.items()
    ]
    total = sum(timing.seconds for timing in rows.values())
    return ["what each stage took, and when:", *lines, f"  {'together':{width}}  {total:8,.1f} s"]


def _ended(timing: StageTiming) -> str:
    """The local time of the end, to the minute."""
    try:
        ended = datetime.fromisoformat(timing.ended).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:  # written by hand
        ended = timing.ended
    return f"{ended}, failed" if timing.failed else ended
