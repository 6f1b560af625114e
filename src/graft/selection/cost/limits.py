"""The limits of ``select.max_...``: which candidates are over one, by how much, and which is nearest where all are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graft.core.errors import ConfigError
from graft.selection.candidates import CandidateResult, Excess

if TYPE_CHECKING:
    from graft.core.settings import Select


@dataclass(frozen=True)
class CostLimit:
    """A row of the table.

    Attributes:
        setting: the key under ``select``.
        unit: of the figure, for people.
        figure: a candidate's figure, as it would be served; None where it was not measured.
    """

    setting: str
    unit: str
    figure: Callable[[CandidateResult], float | None]


LIMITS = (
    CostLimit("max_params_m", "million parameters", lambda item: item.cost.params_m),
    CostLimit("max_memory_mb", "MB", lambda item: None if item.measured is None else item.measured.memory_mb),
    CostLimit(
        "max_latency_ms",
        "ms for one image",
        lambda item: None if item.measured is None else item.measured.latency_ms.value,
    ),
)


def excesses(result: CandidateResult, settings: Select) -> tuple[Excess, ...]:
    """The limits that a candidate does not keep as it would be served, cut at its depth; empty where it fits."""
    found = []
    for limit in LIMITS:
        most: float | None = getattr(settings, limit.setting)
        figure = limit.figure(result)
        if most is not None and figure is not None and figure > most:
            found.append(Excess(limit.setting, limit.unit, figure, most))
    return tuple(found)


def refuse_none(results: Sequence[CandidateResult], name: Callable[[CandidateResult], str]) -> None:
    """Refuse where no candidate fits.

    Raises:
        ConfigError: it names the candidate whose worst figure is over its limit by the smallest factor.
    """
    if not results or any(not item.excess for item in results):
        return
    near = min(results, key=lambda item: max(over.figure / over.limit for over in item.excess))
    settings = ", ".join(f"select.{over.setting} to {_roomy(over.figure)}" for over in near.excess)
    raise ConfigError(
        f"no candidate fits the limits; the nearest is {name(near)}: {'; '.join(map(str, near.excess))}",
        where="select",
        remedy=f"set {settings}, or add a smaller candidate to zoo.candidates",
    )


def _roomy(figure: float) -> str:
    """Three digits, rounded up, so that what is advised is enough."""
    import math

    step = 10.0 ** (math.floor(math.log10(figure)) - 2)
    return f"{math.ceil(figure / step) * step:.6g}"
