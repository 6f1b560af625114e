"""A metric as selection and search use it: greater is always better, whichever way people read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from graft.core.errors import ConfigError, did_you_mean
from graft.metrics.classification import METRICS
from graft.metrics.formatting import metric_name, percent
from graft.metrics.table import Metric, MetricTable

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Scorer:
    """A metric as a scorer in scikit-learn's sense: of a loss the negative.

    Attributes:
        metric: a row of ``table``.
        table: the metrics of the task.
    """

    metric: Metric[Any]
    table: MetricTable[Any] = METRICS

    @property
    def name(self) -> str:
        """For people: ``macro F1``."""
        return metric_name(self.metric.name)

    @property
    def needs_probabilities(self) -> bool:
        """Whether scores that only rank the classes are not enough."""
        return self.metric.needs_probabilities

    def __call__(self, labels: NDArray[np.intp], scores: NDArray[np.float64]) -> float:
        """The score of labels (n) and class scores (n, k), the greater the better.

        Raises:
            ConfigError: these images do not have this metric, such as ROC AUC of one class.
        """
        found = self.table.score(self.metric.name, labels, scores)
        if found.value is None:
            raise ConfigError(
                f"{self.name} cannot be computed on {len(labels)} images of a fold: {found.reason}",
                where="metric",
                remedy="take another metric, such as accuracy or balanced_accuracy, or fewer folds (select.folds)",
            )
        return self._turned(found.value)

    def shown(self, score: float) -> float:
        """A score as people read the metric: log loss above 0."""
        return self._turned(score)

    def said(self, score: float) -> str:
        """``accuracy 0.931``."""
        return f"{self.name} {self.shown(score):.3f}"

    def figure(self, score: float, error: float | None = None) -> str:
        """``93.1% ± 1.2``, or ``0.312 ± 0.021`` for what is no share of images."""
        is_share = self.metric.unit == "share"
        value = percent(score) if is_share else f"{self.shown(score):.3f}"
        return value if error is None else f"{value} ± {100 * error:.1f}" if is_share else f"{value} ± {error:.3f}"

    def gap(self, difference: float, sign: Literal["", "+"] = "") -> str:
        """A difference of two scores with its unit: ``1.2 points``, ``0.012 nats``."""
        if self.metric.unit in ("share", "area"):
            return f"{100 * difference:{sign}.1f} points"
        return f"{difference:{sign}.3f} {self.metric.unit}".rstrip()

    @property
    def worst(self) -> float:
        """The score of what could not even be trained; of a loss, that of a certain and wrong answer."""
        return self.metric.low if self.metric.better == "higher" else float(np.log(np.finfo(np.float64).eps))

    def _turned(self, value: float) -> float:
        # 0.0 - x, and not -x: a loss of 0 is no negative zero.
        return 0.0 - value if self.metric.better == "lower" else value


def scorer(name: str, table: MetricTable[Any] = METRICS) -> Scorer:
    """The scorer of the metric that ``metric`` in params.yaml names.

    Raises:
        ConfigError: the task has no such metric, or it cannot be chosen by.
    """
    if name not in table.criteria:
        remedy = did_you_mean(name, table.criteria)
        raise ConfigError(f"candidates cannot be chosen by {name!r}", where="metric", remedy=remedy)
    return Scorer(table[name], table)


ACCURACY = scorer("accuracy")
