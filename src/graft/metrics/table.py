"""Metrics as rows of a table, computed on samples and on all their bootstrap resamples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import numpy as np

from graft.stats.bootstrap import Interval, Resampling, percentile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Unit = Literal["share", "area", "nats", ""]
# What a metric sees: targets, outputs and how often each resample holds each sample. Each task has its own.
Outcomes = TypeVar("Outcomes")


@dataclass(frozen=True)
class Score:
    """A figure, or None and the reason why there is none."""

    value: float | None
    reason: str | None = None


@dataclass(frozen=True)
class Metric(Generic[Outcomes]):
    """One row of a table.

    Attributes:
        name: its key in metrics.json.
        function: outcomes -> figure in each resample, (b,); NaN where a resample does not have it.
        meaning: one line for people.
        better: which way is better.
        low: least possible value.
        high: greatest possible value, may be infinite.
        needs: outcomes -> why it is undefined, or None.
        biased: the bootstrap overestimates it, and :func:`graft.stats.bootstrap.percentile` corrects the interval.
        unit: a share is read in percent, and differences of shares and areas in points.
        is_criterion: whether ``metric`` in params.yaml may name it.
        needs_probabilities: whether outputs that only rank are not enough.
    """

    name: str
    function: Callable[[Outcomes], Floats]
    meaning: str
    better: Literal["higher", "lower"] = "higher"
    low: float = 0.0
    high: float = 1.0
    needs: Callable[[Outcomes], str | None] = lambda _: None
    biased: bool = False
    unit: Unit = ""
    is_criterion: bool = False
    needs_probabilities: bool = False


class MetricTable(Generic[Outcomes]):
    """The metrics of a task by name, in the order of the report."""

    def __init__(self, outcomes: Callable[[Any, Any, Floats | None], Outcomes], *rows: Metric[Outcomes]) -> None:
        """Build the table.

        Args:
            outcomes: targets (n), outputs (n, ...), and counts (n, b) of the samples in b resamples, or None for the
                samples themselves -> what the rows' functions take.
            rows: the metrics.

        Raises:
            ValueError: a name is there twice.
        """
        self.outcomes = outcomes
        self.rows = {row.name: row for row in rows}
        if len(self.rows) != len(rows):
            raise ValueError(f"a metric is listed twice: {[row.name for row in rows]}")

    def __getitem__(self, name: str) -> Metric[Outcomes]:
        return self.rows[name]

    @property
    def criteria(self) -> tuple[str, ...]:
        """What ``metric`` in params.yaml may name."""
        return tuple(name for name, row in self.rows.items() if row.is_criterion)

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def score(self, name: str, targets: Any, outputs: Any) -> Score:
        """One figure, or why there is none."""
        outcomes, metric = self.outcomes(targets, outputs, None), self.rows[name]
        reason = "there are no test images" if len(targets) == 0 else metric.needs(outcomes)
        return Score(None, reason) if reason else Score(float(metric.function(outcomes)[0]))

    def scores(self, targets: Any, outputs: Any) -> dict[str, Score]:
        """Every figure by name, in the table's order."""
        return {name: self.score(name, targets, outputs) for name in self.rows}

    def resampled(self, targets: Any, outputs: Any, resampling: Resampling, names: Sequence[str]) -> dict[str, Floats]:
        """Each of ``names`` in every resample, (samples,); NaN where a resample does not have it."""

        def figures(counts: Floats) -> Floats:
            outcomes = self.outcomes(targets, outputs, counts)
            return np.stack([self.rows[name].function(outcomes) for name in names])

        return dict(zip(names, resampling.distribution(figures), strict=True))

    def intervals(
        self, targets: Any, outputs: Any, resampling: Resampling, names: Sequence[str] | None = None
    ) -> dict[str, Interval | None]:
        """A 95% interval for each of ``names``, by default all; None where there is no figure."""
        names = tuple(self.rows) if names is None else names
        if resampling.count == 0:
            return dict.fromkeys(names)
        values = self.resampled(targets, outputs, resampling, names)
        found: dict[str, Interval | None] = {}
        for name in names:
            metric, figure = self.rows[name], self.score(name, targets, outputs).value
            bounds = (metric.low, metric.high, resampling.count, figure if metric.biased else None)
            found[name] = None if figure is None else percentile(values[name], *bounds)
        return found
