"""The task's own loss, with class weights and label smoothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from graft.modalities.preprocessor import Inputs
from graft.tasks.base import Task
from graft.training.objectives.base import Batch


@dataclass(frozen=True)
class Supervised:
    """:meth:`graft.tasks.base.Task.loss` of a network's outputs.

    Attributes:
        task: gives the loss.
        class_weights: (classes), see :func:`graft.training.imbalance.class_weights`; None: all 1.
        label_smoothing: share of the target that is spread over all classes, in [0, 1).
    """

    task: Task
    class_weights: Tensor | None = None
    label_smoothing: float = 0.0

    @property
    def modules(self) -> Mapping[str, nn.Module]:
        """None."""
        return {}

    def loss(self, model: Callable[[Inputs], Tensor], batch: Batch, step: int) -> Tensor:
        """Of targets, and of the classes' shares where images were mixed."""
        return self.task.loss(model(batch.inputs), batch.targets, self.class_weights, self.label_smoothing)
