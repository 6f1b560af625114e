"""Classification as a task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graft.tasks.base import LinearHead, ParityReport

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from torch import Tensor

    from graft.metrics.outcomes import Outcomes
    from graft.metrics.table import MetricTable
    from graft.tasks.classification.response import LabelResponse

    Floats = NDArray[np.float64]

TOLERANCE = 1e-3  # of a calibrated probability; float32 in another order differs by some 1e-6


@dataclass(frozen=True)
class Classification:
    """One label of several classes; targets are class indices, outputs logits, and postprocessed probabilities."""

    name: str = "classification"
    categorical: bool = True
    report_sections: tuple[str, ...] = (
        "production",
        "use",
        "transfer",
        "errors",
        "slices",
        "labels",
        "classes",
        "ranking",
        "confidence",
        "selection",
        "training",
        "cost",
        "data",
        "measured",
        "settings",
    )

    @property
    def metrics(self) -> MetricTable[Outcomes]:
        """See :mod:`graft.metrics.classification`."""
        # Here, as a prediction needs none of what it imports, and has a second or two.
        from graft.metrics.classification import METRICS

        return METRICS

    @property
    def probes(self) -> Mapping[str, LinearHead]:
        """See :mod:`graft.tasks.classification.probes`."""
        from graft.tasks.classification.probes import PROBES

        return PROBES

    @property
    def response(self) -> type[LabelResponse]:
        """Label, probabilities, and whether the model is sure."""
        from graft.tasks.classification.response import LabelResponse

        return LabelResponse

    def strata(self, labels: pd.Series) -> pd.Series:
        """The labels themselves."""
        return labels

    def classes(self, labels: Iterable[str]) -> tuple[str, ...]:
        """The labels, sorted."""
        return tuple(sorted(set(labels)))

    def outputs(self, classes: Sequence[str]) -> tuple[str, ...]:
        """One for each class."""
        return tuple(classes)

    def encode(self, labels: Iterable[str], classes: Sequence[str]) -> NDArray[np.int64]:
        """Class indices, (n,)."""
        index = {name: place for place, name in enumerate(classes)}
        return np.array([index[label] for label in labels], dtype=np.int64)

    def fit_head(
        self, features: Floats, targets: NDArray[np.int64], balanced: bool, strengths: Sequence[float]
    ) -> tuple[Floats, Floats]:
        """The multinomial logistic regression; see :func:`graft.tasks.classification.probes.logistic_head`."""
        from graft.tasks.classification.probes import logistic_head

        return logistic_head(features, targets, balanced, strengths)

    def refit_head(self, features: Floats, targets: NDArray[np.int64], balanced: bool) -> tuple[Floats, Floats]:
        """Linear discriminant analysis; see :func:`graft.tasks.classification.probes.discriminant_head`."""
        from graft.tasks.classification.probes import discriminant_head

        return discriminant_head(features, targets, balanced)

    def loss(
        self, outputs: Tensor, targets: Tensor, class_weights: Tensor | None = None, label_smoothing: float = 0.0
    ) -> Tensor:
        """Cross-entropy of logits (n, k) with class indices (n,) or class probabilities (n, k), in nats."""
        from torch.nn.functional import cross_entropy

        weight = None if class_weights is None else class_weights.to(outputs.device)
        return cross_entropy(outputs, targets, weight=weight, label_smoothing=label_smoothing)

    def postprocess(self, outputs: NDArray[np.floating]) -> Floats:
        """Softmax of the logits, (n, k)."""
        logits = np.asarray(outputs, dtype=np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def to_response(
        self, outputs: Floats, classes: Sequence[str], least_confidence: float, top_k: int | None
    ) -> LabelResponse:
        """See :meth:`graft.tasks.classification.response.LabelResponse.of`."""
        return self.response.of(outputs, classes, least_confidence, top_k)

    def parity(self, reference: Floats, other: Floats, drawn_from: str) -> ParityReport:
        """Same most probable class, and probabilities within ``TOLERANCE``."""
        same = float((reference.argmax(axis=1) == other.argmax(axis=1)).mean()) if len(reference) else 0.0
        # A probability that is no number must not pass for a small difference.
        gap = float(np.nan_to_num(np.abs(reference - other), nan=1.0).max(initial=0.0))
        return ParityReport(len(reference), drawn_from, same, gap, TOLERANCE)
