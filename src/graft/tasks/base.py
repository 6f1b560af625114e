"""The protocol of a task: everything that the stages ask about what is said of a sample.

To add a task, implement :class:`Task` and add it to :data:`graft.tasks.registry.TASKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
    from pydantic import BaseModel
    from torch import Tensor

    from graft.metrics.table import MetricTable

    Floats = NDArray[np.float64]

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


@dataclass(frozen=True)
class LinearHead:
    """A linear head that a probe fits to frozen features.

    Attributes:
        strengths: of the penalty on standardised features, the strongest first: the first of equals is taken.
        scores: (training features (n, d), targets (n), features (m, d), strengths (s), number of outputs k) -> outputs
            (s, m, k), as the task's metrics take them, of heads fitted at each strength.
        loss: by which the strength is chosen: (outputs (m, k), targets (m)) -> its sum over the samples.
        gives_probabilities: whether the outputs are probabilities that sum to one.
    """

    strengths: tuple[float, ...]
    scores: Callable[[Floats, Any, Floats, Sequence[float], int], Floats]
    loss: Callable[[Floats, Any], float]
    gives_probabilities: bool = False


class Task(Protocol):
    """What is said of a sample. ``targets`` are encoded labels, an array with a row per sample.

    Attributes:
        name: its value in ``data.task``.
        categorical: whether a target is one of several classes and an output their probabilities. Calibration,
            abstention, confusion, doubted labels and slices are of such tasks only, and so are the comparisons with
            control, majority class and production model.
        metrics: its figures.
        probes: the linear heads that ``select.probe`` may name.
        report_sections: anchors of the report's sections that fit it (:mod:`graft.reporting.sections.table`).
        response: the task's fields of the response of ``POST /predict``.
    """

    @property
    def name(self) -> str: ...

    @property
    def categorical(self) -> bool: ...

    @property
    def metrics(self) -> MetricTable[Any]: ...

    @property
    def probes(self) -> Mapping[str, LinearHead]: ...

    @property
    def report_sections(self) -> tuple[str, ...]: ...

    @property
    def response(self) -> type[BaseModel]: ...

    def strata(self, labels: pd.Series) -> pd.Series:
        """What train, test and folds are stratified by, and validation counts as classes; empty for no valid label."""

    def classes(self, labels: Iterable[str]) -> tuple[str, ...]:
        """The class names among the labels, as model.json keeps them; empty where the task has none."""

    def outputs(self, classes: Sequence[str]) -> tuple[str, ...]:
        """The names of a head's k outputs, in their order."""

    def encode(self, labels: Iterable[str], classes: Sequence[str]) -> NDArray[Any]:
        """Valid labels (n) -> targets (n), as heads, loss and metrics take them."""

    def fit_head(
        self, features: Floats, targets: NDArray[Any], balanced: bool, strengths: Sequence[float]
    ) -> tuple[Floats, Floats]:
        """Fit a linear head in closed form.

        Args:
            features: standardised, (n, d).
            targets: (n).
            balanced: whether every class weighs as much as any other.
            strengths: inverse strengths of the L2 penalty to choose from, by cross-validation.

        Returns:
            Weights (k, d) and biases (k).
        """

    def refit_head(self, features: Floats, targets: NDArray[Any], balanced: bool) -> tuple[Floats, Floats]:
        """Fit the linear head of a network whose blocks were trained on these very samples, in closed form.

        Args:
            features: as they are, (n, d).
            targets: (n).
            balanced: whether every class weighs as much as any other.

        Returns:
            Weights (k, d) and biases (k).
        """

    def loss(
        self, outputs: Tensor, targets: Tensor, class_weights: Tensor | None = None, label_smoothing: float = 0.0
    ) -> Tensor:
        """The mean loss of a head's raw outputs (n, k), a scalar with a gradient.

        Args:
            outputs: (n, k).
            targets: (n), or the classes' shares (n, k) where images were mixed.
            class_weights: (k), for ``train.imbalance``.
            label_smoothing: share of the target that is spread over all classes.
        """

    def postprocess(self, outputs: NDArray[np.floating]) -> Floats:
        """A head's raw outputs (n, k) -> what metrics, response and parity take, (n, k)."""

    def to_response(
        self, outputs: Floats, classes: Sequence[str], least_confidence: float, top_k: int | None
    ) -> BaseModel:
        """Postprocessed outputs (k,) of one sample -> :attr:`response`.

        Args:
            outputs: (k,).
            classes: of the model.
            least_confidence: the confidence under which a class is not sure.
            top_k: how many classes are named; None: all.
        """

    def parity(self, reference: Floats, other: Floats, drawn_from: str) -> ParityReport:
        """Compare the postprocessed outputs (n, k) of two engines for the same samples."""
