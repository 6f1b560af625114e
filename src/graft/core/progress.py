"""Progress bars on stderr; silent where that is no terminal."""

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
