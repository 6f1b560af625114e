"""Progress bars on stderr, silent where that is no terminal, and times in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

T = TypeVar("T")


def track(items: Iterable[T], description: str, total: int | None = None, unit: str = "") -> Iterator[T]:
    """Yield ``items`` while a bar with count, rate and time left is shown on a terminal.

    Args:
        items: what to go through.
        description: what is being done, such as ``"decoding images"``.
        total: how many there are, where ``items`` has no length.
        unit: what the items are, such as ``"steps"``, for the rate; empty: no rate is shown.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns: tuple[ProgressColumn, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    if unit:
        columns = (*columns, rate_column(unit))
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield from progress.track(items, description=description, total=total)


def rate_column(unit: str) -> ProgressColumn:
    """A column with the rate, such as ``12.3 steps/s``; empty before it is known."""
    from rich.progress import ProgressColumn
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.1f} {unit}/s")

    return RateColumn()


def duration(seconds: float) -> str:
    """A time as measured, such as ``0.8 s``, ``41 s``, ``4 min 30 s`` or ``2 h 5 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def rough_duration(seconds: float) -> str:
    """A time as estimated, such as ``10 s`` (the least), ``50 s``, ``2 min`` or ``1.5 h``."""
    if seconds < 90:
        return f"{max(1, round(seconds / 10)) * 10} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
