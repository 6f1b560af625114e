"""Linear probes on cached features, cross-validated on the shared folds, at every depth of a backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.determinism import derive_seed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Features = NDArray[np.float32]
    Labels = NDArray[np.int64]
    Folds = NDArray[np.int64]

# Strengths of the ridge, each chosen inside the fold by leave-one-out error on its training part.
ALPHAS = tuple(float(alpha) for alpha in np.logspace(-1, 5, 7))
INNER_FOLDS = 3


@dataclass(frozen=True)
class Probe:
    """What probing one candidate gave.

    Attributes:
        depth: index of the block it is to be cut after.
        fold_scores: accuracy in [0, 1] per fold. With ``depth: auto`` the depth is chosen anew inside each fold's
            training part, so that choosing it does not flatter the score.
        curve: mean accuracy over folds at each depth, first block first; for looking at, and for the final depth.
    """

    depth: int
    fold_scores: tuple[float, ...]
    curve: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean accuracy over the folds."""
        return float(np.mean(self.fold_scores))


def linear_head() -> Any:
    """Standardised features into a ridge classifier whose strength is chosen on the data it is fitted to.

    The ridge of each strength costs one singular value decomposition in all (R. Rifkin and R. Lippert, Notes on
    Regularized Least Squares, 2007), which is what makes probing every depth of every candidate cheap.
    """
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=ALPHAS))


def fold_scores(features: Features, labels: Labels, folds: Folds) -> list[float]:
    """Accuracy of a linear head on each fold, fitted on the others; features (n, d), labels (n), folds (n)."""
    return [fit_and_score(features, labels, folds == fold) for fold in np.unique(folds)]


def fit_and_score(features: Features, labels: Labels, test: NDArray[np.bool_]) -> float:
    """Accuracy on the rows ``test`` (bool, n) of a linear head fitted on the other rows."""
    from threadpoolctl import threadpool_limits

    # These matrices are small: several threads spend their time waiting for each other, up to 50 times as long as
    # one alone takes where other work goes on beside it.
    with threadpool_limits(1):
        head = linear_head().fit(features[~test], labels[~test])
        return float(np.mean(head.predict(features[test]) == labels[test]))


def standard_error(scores: Sequence[float]) -> float:
    """Standard error of the mean of fold scores: sample deviation over the root of their number; 0 for one score."""
    return float(np.std(scores, ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else 0.0


def earliest_best(scores: Sequence[Sequence[float]]) -> int:
    """The earliest depth within one standard error of the best one; ``scores`` per depth, per fold."""
    means = [float(np.mean(row)) for row in scores]
    best = int(np.argmax(means))
    bar = means[best] - standard_error(scores[best])
    return next(depth for depth, mean in enumerate(means) if mean >= bar)


def probe_auto(depths: Sequence[Features], labels: Labels, folds: Folds, seed: int) -> Probe:
    """Probe every depth and choose one; the score is that of the whole procedure, choice included."""
    from sklearn.model_selection import StratifiedKFold

    outer = []
    for fold in np.unique(folds):
        test = folds == fold
        inner = np.empty(int((~test).sum()), dtype=np.int64)
        splitter = StratifiedKFold(
            INNER_FOLDS, shuffle=True, random_state=derive_seed(seed, "depth", int(fold)) % 2**32
        )
        for number, (_, part) in enumerate(splitter.split(inner, labels[~test])):
            inner[part] = number
        chosen = earliest_best([fold_scores(features[~test], labels[~test], inner) for features in depths])
        outer.append(fit_and_score(depths[chosen], labels, test))
    everywhere = [fold_scores(features, labels, folds) for features in depths]
    return Probe(earliest_best(everywhere), tuple(outer), tuple(float(np.mean(row)) for row in everywhere))


def probe_at(depths: Sequence[Features], labels: Labels, folds: Folds, depth: int) -> Probe:
    """Probe every depth for the curve, and score the given one."""
    everywhere = [fold_scores(features, labels, folds) for features in depths]
    return Probe(depth, tuple(everywhere[depth]), tuple(float(np.mean(row)) for row in everywhere))
