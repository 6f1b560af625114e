"""Another task than classification goes from the split to figures, response and parity by the functions that are there.

The fake task predicts one number (an age, say): squared error, a table of metrics of its own, deciles as strata.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from pydantic import BaseModel
from sklearn.metrics import mean_absolute_error, r2_score
from torch import Tensor, nn

from graft.core.config import parse_params
from graft.core.errors import DataError
from graft.data.splits.splits import divide
from graft.metrics.classification import METRICS
from graft.metrics.scorer import Scorer
from graft.metrics.table import Metric, MetricTable
from graft.reporting.sections.table import SECTIONS
from graft.selection.probes.heads import HEADS
from graft.stats.bootstrap import Resampling
from graft.stats.groups import units_of
from graft.tasks.base import ParityReport, Task
from graft.tasks.classification.task import Classification
from graft.tasks.registry import TASKS, task_of

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Numbers:
    """What a metric of the fake task sees."""

    targets: Floats
    outputs: Floats
    counts: Floats | None

    def mean(self, values: Floats) -> Floats:
        return np.array([values.mean()]) if self.counts is None else values @ self.counts / self.counts.sum(axis=0)


def _explained(found: Numbers) -> Floats:
    spread = found.mean(found.targets**2) - found.mean(found.targets) ** 2
    return 1 - found.mean((found.targets - found.outputs) ** 2) / spread


NUMBERS = MetricTable(
    Numbers,
    Metric("mae", lambda x: x.mean(np.abs(x.targets - x.outputs)), "mean absolute error", "lower", 0, np.inf),
    Metric(
        "r2",
        _explained,
        "share of the variance explained",
        low=-np.inf,
        needs=lambda x: "all targets are equal" if np.ptp(x.targets) == 0 else None,
    ),
)


class Age(BaseModel):
    """The fake task's response."""

    years: float


@dataclass(frozen=True)
class Regression:
    """One number for each sample."""

    name: str = "regression"
    metrics: MetricTable[Numbers] = NUMBERS
    probes: tuple[str, ...] = ("ridge",)
    report_sections: tuple[str, ...] = ("use", "cost", "data", "settings")

    def parse_target(self, row: Mapping[str, Any]) -> float:
        try:
            return float(row["label"])
        except ValueError:
            raise DataError(f"{row['label']!r} is no number", where=row["path"]) from None

    def stratify_key(self, target: float) -> str:
        return f"{int(target // 10)}0s"

    def encode(self, targets: Sequence[float], classes: Sequence[str]) -> Floats:
        return np.array(targets, dtype=np.float64)

    def head(self, features: int, classes: Sequence[str]) -> nn.Module:
        return nn.Linear(features, 1)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.mse_loss(outputs[:, 0], targets)

    def postprocess(self, outputs: NDArray[np.floating], temperature: float = 1.0) -> Floats:
        return np.asarray(outputs[:, 0], dtype=np.float64)

    def to_response(self, outputs: Floats, classes: Sequence[str], top_k: int | None) -> Age:
        return Age(years=float(outputs))

    def parity(self, reference: Floats, other: Floats, drawn_from: str) -> ParityReport:
        gap = np.abs(reference - other)
        return ParityReport(len(gap), drawn_from, float((gap < 0.5).mean()), float(gap.max()), 0.01)


REGRESSION: Task[float] = Regression()


def _manifest(n: int) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(n, 5)).astype(np.float32)
    ages = 40 + features @ np.array([4.0, -3.0, 2.0, 0.0, 1.0], dtype=np.float32) + rng.normal(0, 1, n)
    table = pd.DataFrame({"path": [f"{i:03}.png" for i in range(n)], "label": [f"{age:.2f}" for age in ages]})
    table["split"], table["group"], table["phash"], table["problems"] = None, None, None, None
    table["pixel_sha256"] = table["path"]
    return table.astype("str"), features


def test_a_fake_task_goes_from_the_split_to_figures_response_and_parity() -> None:
    manifest, features = _manifest(400)
    targets = [REGRESSION.parse_target(row) for row in manifest.to_dict("records")]
    params = parse_params({"zoo": {"candidates": [{"arch": "resnet18"}]}, "select": {"folds": 3}}, "test")
    strata = [REGRESSION.stratify_key(value) for value in targets]
    splits = divide(manifest.assign(label=strata), params).table
    place = pd.Series(np.arange(400), index=manifest["path"])
    test = place[splits.loc[splits["split"] == "test", "path"]].to_numpy(copy=True)
    train = place[splits.loc[splits["split"] == "train", "path"]].to_numpy(copy=True)
    y, x = REGRESSION.encode(targets, ()), torch.from_numpy(features)
    torch.manual_seed(0)
    head = REGRESSION.head(5, ())
    optimiser = torch.optim.Adam(head.parameters(), 0.5)
    for _ in range(300):
        optimiser.zero_grad()
        REGRESSION.loss(head(x[train]), torch.from_numpy(y[train]).float()).backward()
        optimiser.step()
    outputs = REGRESSION.postprocess(head(x[test]).detach().numpy())
    resampling = Resampling(units_of(splits.loc[splits["split"] == "test", "group"]), 300, 0)
    found = {name: REGRESSION.metrics.score(name, y[test], outputs) for name in REGRESSION.metrics}
    intervals = REGRESSION.metrics.intervals(y[test], outputs, resampling)
    assert found["mae"].value == pytest.approx(mean_absolute_error(y[test], outputs))
    assert found["r2"].value == pytest.approx(r2_score(y[test], outputs)) and found["r2"].value > 0.9
    for name, score in found.items():
        band = intervals[name]
        assert band is not None and score.value is not None and band.low < score.value < band.high
    assert Scorer(REGRESSION.metrics["mae"], REGRESSION.metrics)(y[test], outputs) == -found["mae"].value
    assert REGRESSION.to_response(outputs[0], (), None).model_dump() == {"years": outputs[0]}
    assert REGRESSION.parity(outputs, outputs + 1e-3, "test").passed
    assert not REGRESSION.parity(outputs, outputs + 1, "test").passed


def test_what_is_no_target_is_refused_and_what_is_undefined_has_a_reason() -> None:
    with pytest.raises(DataError, match="'old' is no number"):
        REGRESSION.parse_target({"path": "a.png", "label": "old"})
    equal = np.ones(3)
    assert REGRESSION.metrics.score("r2", equal, equal).reason == "all targets are equal"


@pytest.mark.parametrize("task", [*TASKS.values(), REGRESSION])
def test_every_task_names_what_is_there(task: Task[Any]) -> None:
    assert set(task.probes) <= set(HEADS)
    assert set(task.report_sections) <= {section.anchor for section in SECTIONS}
    assert task.name and list(task.metrics)


def test_classification_is_the_first_task_and_what_auto_takes() -> None:
    task = task_of("auto")
    assert isinstance(task, Classification) and task_of("classification") is task and task.metrics is METRICS
    assert [section.anchor for section in SECTIONS] == list(task.report_sections)
    target = task.parse_target({"path": "a.png", "label": "bee"})
    assert task.stratify_key(target) == "bee" and task.encode([target], ("ant", "bee")).tolist() == [1]
    with pytest.raises(DataError, match="has no label"):
        task.parse_target({"path": "a.png", "label": ""})
    outputs = task.postprocess(np.array([[0.0, np.log(3.0)]]))
    answer = task.to_response(outputs[0], ("ant", "bee"), 1).model_dump()
    assert answer == {"label": "bee", "probabilities": {"bee": pytest.approx(0.75)}}
    loss = task.loss(torch.tensor([[0.0, np.log(3.0)]]), torch.tensor([1]))
    assert float(loss) == pytest.approx(-np.log(0.75))
    assert task.parity(outputs, np.array([[np.nan, 0.75]]), "").passed is False
