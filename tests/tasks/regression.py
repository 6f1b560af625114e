"""A small second task for tests: one number for each sample."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel
from torch import Tensor, nn

from graft.metrics.table import Metric, MetricTable
from graft.tasks.base import LinearHead, ParityReport
from tests.conftest import picture

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Numbers:
    """What a metric sees: targets (n), outputs (n, 1), and how often each resample holds each sample (n, b)."""

    targets: Floats
    outputs: Floats
    counts: Floats | None

    def mean(self, values: Floats) -> Floats:
        return np.array([values.mean()]) if self.counts is None else values @ self.counts / self.counts.sum(axis=0)


def _explained(found: Numbers) -> Floats:
    spread = found.mean(found.targets**2) - found.mean(found.targets) ** 2
    missed = found.mean((found.targets - found.outputs[:, 0]) ** 2)
    return 1 - np.divide(missed, spread, out=np.full(len(missed), np.nan), where=spread > 1e-9)


NUMBERS = MetricTable(
    Numbers,
    Metric(
        "mae",
        lambda x: x.mean(np.abs(x.targets - x.outputs[:, 0])),
        "mean absolute error",
        "lower",
        0,
        np.inf,
        is_criterion=True,
    ),
    Metric(
        "r2",
        _explained,
        "share of the variance explained",
        low=-np.inf,
        needs=lambda x: "all targets are equal" if np.ptp(x.targets) == 0 else None,
    ),
)


def _ridge(train: Floats, targets: Floats, strength: float) -> tuple[Floats, Floats]:
    """Weights (1, d) and bias (1)."""
    mean = targets.mean()
    weights = np.linalg.solve(train.T @ train + strength * np.eye(train.shape[1]), train.T @ (targets - mean))
    return weights[None], np.array([mean])


def _scores(train: Floats, targets: Floats, rows: Floats, strengths: Sequence[float], outputs: int) -> Floats:
    assert outputs == 1
    fits = [_ridge(train, targets, strength) for strength in strengths]
    return np.stack([rows @ weights.T + bias for weights, bias in fits])


def _squared_error(outputs: Floats, targets: Floats) -> float:
    return float(((outputs[:, 0] - targets) ** 2).sum())


class Value(BaseModel):
    """The response."""

    value: float


@dataclass(frozen=True)
class Regression:
    """One number for each sample; strata are its tens."""

    name: str = "regression"
    categorical: bool = False
    metrics: MetricTable[Numbers] = NUMBERS
    probes: Mapping[str, LinearHead] = field(
        default_factory=lambda: {
            "ridge": LinearHead(
                (1e3, 1e2, 10.0), _scores, lambda said, targets: float(((said[:, 0] - targets) ** 2).sum())
            )
        }
    )
    report_sections: tuple[str, ...] = ("selection", "training", "cost", "measured", "settings")
    response: type[BaseModel] = Value

    def strata(self, labels: pd.Series) -> pd.Series:
        tens = (pd.to_numeric(labels, errors="coerce") // 10).astype("Int64")
        return tens.astype("str").where(tens.notna(), "")

    def classes(self, labels: Iterable[str]) -> tuple[str, ...]:
        return ()

    def outputs(self, classes: Sequence[str]) -> tuple[str, ...]:
        return ("value",)

    def encode(self, labels: Iterable[str], classes: Sequence[str]) -> NDArray[np.float32]:
        return np.array([float(label) for label in labels], dtype=np.float32)

    def refit_head(self, features: Floats, targets: NDArray[Any], balanced: bool) -> tuple[Floats, Floats]:
        return self.fit_head(features, targets, balanced, (1.0,))

    def fit_head(
        self, features: Floats, targets: NDArray[Any], balanced: bool, strengths: Sequence[float]
    ) -> tuple[Floats, Floats]:
        return _ridge(features, targets.astype(np.float64), 1 / strengths[0])

    def loss(
        self, outputs: Tensor, targets: Tensor, class_weights: Tensor | None = None, label_smoothing: float = 0.0
    ) -> Tensor:
        return nn.functional.mse_loss(outputs[:, 0], targets)

    def postprocess(self, outputs: NDArray[np.floating]) -> Floats:
        return np.asarray(outputs, dtype=np.float64)

    def to_response(
        self, outputs: Floats, classes: Sequence[str], least_confidence: float, top_k: int | None
    ) -> BaseModel:
        return Value(value=float(outputs[0]))

    def parity(self, reference: Floats, other: Floats, drawn_from: str) -> ParityReport:
        gap = np.abs(reference - other)
        return ParityReport(len(gap), drawn_from, float((gap < 0.5).mean()), float(gap.max()), 0.01)


def write_numbers(folder: Path, count: int) -> Path:
    """Write pictures whose brightness is the number that a table says of them; returns the table."""
    folder.mkdir()
    rows = []
    for place in range(count):
        value = 30 * place / count
        grey = Image.new("RGB", (24, 20), (int(60 + 5 * value),) * 3)
        Image.blend(picture(place), grey, 0.8).save(folder / f"{place:03d}.png")
        rows.append((f"{place:03d}.png", f"{value:.2f}"))
    pd.DataFrame(rows, columns=["path", "label"]).to_csv(folder / "numbers.csv", index=False)
    return folder / "numbers.csv"
