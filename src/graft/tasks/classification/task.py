"""Classification as a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from graft.core.errors import DataError
from graft.tasks.base import ParityReport

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from graft.metrics.outcomes import Outcomes
    from graft.metrics.table import MetricTable
    from graft.tasks.classification.response import LabelResponse

TOLERANCE = 1e-3  # of a calibrated probability; float32 in another order differs by some 1e-6


@dataclass(frozen=True)
class Classification:
    """One label of several classes; targets are class names, encoded as class indices."""

    name: str = "classification"
    probes: tuple[str, ...] = ("ridge", "logistic")
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

    def parse_target(self, row: Mapping[str, Any]) -> str:
        """The label. Raises DataError where it is empty."""
        label = row.get("label")
        if not isinstance(label, str) or not label:
            raise DataError("the sample has no label", where=str(row.get("path", "")))
        return label

    def stratify_key(self, target: str) -> str:
        """The label itself."""
        return target

    def encode(self, targets: Sequence[str], classes: Sequence[str]) -> NDArray[np.intp]:
        """Class indices, (n,)."""
        index = {name: place for place, name in enumerate(classes)}
        return np.array([index[target] for target in targets], dtype=np.intp)

    def head(self, features: int, classes: Sequence[str]) -> nn.Module:
        """A linear layer to the classes' logits."""
        from torch import nn

        return nn.Linear(features, len(classes))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of logits (n, classes) with class indices (n,) or class probabilities (n, classes)."""
        from torch.nn.functional import cross_entropy

        return cross_entropy(outputs, targets)

    def postprocess(self, outputs: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
        """Softmax of the logits at a temperature, (n, classes)."""
        scaled = np.asarray(outputs, dtype=np.float64) / temperature
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def to_response(self, outputs: NDArray[np.float64], classes: Sequence[str], top_k: int | None) -> LabelResponse:
        """Probabilities (classes,) of one sample -> its label and the most probable classes."""
        from graft.tasks.classification.response import LabelResponse

        return LabelResponse.model_validate(LabelResponse.ranked(classes, outputs.tolist(), top_k))

    def parity(self, reference: NDArray[np.float64], other: NDArray[np.float64], drawn_from: str) -> ParityReport:
        """Same most probable class, and probabilities within ``TOLERANCE``."""
        same = float((reference.argmax(axis=1) == other.argmax(axis=1)).mean()) if len(reference) else 0.0
        # A probability that is no number must not pass for a small difference.
        gap = float(np.nan_to_num(np.abs(reference - other), nan=1.0).max(initial=0.0))
        return ParityReport(len(reference), drawn_from, same, gap, TOLERANCE)
