"""The protocol of a task, and the report of whether two engines give the same outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydantic import BaseModel
    from torch import Tensor, nn

    from graft.metrics.table import MetricTable

Target = TypeVar("Target")
LEAST_SAME = 0.999  # share of samples with the same answer


@dataclass(frozen=True)
class ParityReport:
    """Whether two engines give the same outputs for the same samples.

    Attributes:
        images: how many samples were compared.
        drawn_from: what they are: ``training images``, or ``random input (seed 0)`` where there were none.
        same_answer: share of them with the same answer.
        largest_difference: between any two output values.
        tolerance: the most that it may be.
    """

    images: int
    drawn_from: str
    same_answer: float
    largest_difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether one engine may answer in the other's place."""
        return self.same_answer >= LEAST_SAME and self.largest_difference <= self.tolerance


class Task(Protocol[Target]):
    """What is said of a sample. To add one, implement this and add it to :data:`graft.tasks.registry.TASKS`.

    Attributes:
        name: what ``data.task`` calls it.
        metrics: the rows of its figures; targets and outputs are arrays with a row per sample.
        probes: the heads of ``select.probe`` that can be fitted to its targets.
        report_sections: anchors of the report's sections that fit it (:mod:`graft.reporting.sections.table`).
    """

    @property
    def name(self) -> str: ...

    @property
    def metrics(self) -> MetricTable[Any]: ...

    @property
    def probes(self) -> tuple[str, ...]: ...

    @property
    def report_sections(self) -> tuple[str, ...]: ...

    def parse_target(self, row: Mapping[str, Any]) -> Target:
        """A row of the manifest -> its target. Raises DataError where it has none."""

    def stratify_key(self, target: Target) -> str:
        """What train, test and folds are stratified by."""

    def encode(self, targets: Sequence[Target], classes: Sequence[str]) -> NDArray[Any]:
        """Targets -> an array with a row per sample, as loss and metrics take them."""

    def head(self, features: int, classes: Sequence[str]) -> nn.Module:
        """A new head on pooled features, (n, features) -> (n, outputs)."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean loss of a batch of head outputs, a scalar."""

    def postprocess(self, outputs: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
        """Head outputs (n, outputs) -> what metrics, response and parity take."""

    def to_response(self, outputs: NDArray[np.float64], classes: Sequence[str], top_k: int | None) -> BaseModel:
        """Postprocessed outputs of one sample -> the task's part of the response of ``POST /predict``."""

    def parity(self, reference: NDArray[np.float64], other: NDArray[np.float64], drawn_from: str) -> ParityReport:
        """Compare the postprocessed outputs of two engines for the same samples."""
