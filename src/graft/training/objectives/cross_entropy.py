"""Cross-entropy: with class weights, label smoothing and the class probabilities of mixed images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from graft.modalities.preprocessor import Inputs
from graft.training.objectives.base import Batch


@dataclass(frozen=True)
class CrossEntropy:
    """``F.cross_entropy`` of the logits.

    Attributes:
        class_weights: (classes), see :func:`graft.training.imbalance.class_weights`; None: all 1.
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
    """

    class_weights: Tensor | None = None
    label_smoothing: float = 0.0

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """None."""
        return {}

    def loss(self, model: Callable[[Inputs], Tensor], batch: Batch, step: int) -> Tensor:
        """Class indices and class probabilities alike."""
        logits = model(batch.inputs)
        weight = None if self.class_weights is None else self.class_weights.to(logits.device)
        return F.cross_entropy(logits, batch.targets, weight=weight, label_smoothing=self.label_smoothing)
