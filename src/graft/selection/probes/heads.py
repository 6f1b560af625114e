"""The one table of linear heads that a probe can be scored by; a new one is a function and a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from graft.core.errors import ConfigError, did_you_mean
from graft.core.settings import Params
from graft.metrics.scorer import scorer
from graft.selection.probes.logistic import logistic
from graft.selection.probes.ridge import ridge

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from graft.selection.nested_folds import Cells, Nest


class Head(Protocol):
    """A head on given features and labels, ready to be fitted to any training part at any strength."""

    @property
    def strengths(self) -> tuple[float, ...]:
        """Strengths of the penalty to choose from, strongest penalty first."""

    def scores(self, held: Cells, strengths: Sequence[float], /) -> NDArray[np.float64]:
        """Scores (strengths, rows of ``held``, k), higher for likelier classes, of heads fitted to all other rows."""

    def losses(self, scores: NDArray[np.float64], labels: NDArray[np.int64], /) -> NDArray[np.float64]:
        """What the strength is chosen by: summed loss (s) of scores (s, rows, k) on labels (rows)."""


@dataclass(frozen=True)
class HeadKind:
    """A row of the table.

    Attributes:
        make: (features (n, d), labels (n) in 0..k-1, k, nest) -> the head.
        gives_probabilities: whether its scores are probabilities that sum to one; the ridge's are not, nor does a
            softmax make them so, because they are least-squares estimates of targets of -1 and 1.
    """

    make: Callable[[NDArray[Any], NDArray[np.int64], int, Nest], Head]
    gives_probabilities: bool


HEADS = {
    "ridge": HeadKind(ridge, gives_probabilities=False),
    "logistic": HeadKind(logistic, gives_probabilities=True),
}


def head_for(params: Params) -> str:
    """The head that `select.probe` names, or the logistic one where `metric` needs probabilities that it lacks."""
    named = params.select.probe
    return named if HEADS[named].gives_probabilities or not scorer(params.metric).needs_probabilities else "logistic"


def head_kind(name: str) -> HeadKind:
    """The row called ``name``.

    Raises:
        ConfigError: there is none.
    """
    if name not in HEADS:
        raise ConfigError(f"there is no linear head {name!r}", where="select.probe", remedy=did_you_mean(name, HEADS))
    return HEADS[name]
