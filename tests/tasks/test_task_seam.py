"""The seam: a second task goes through all stages, from ingest to the service, without a line changed there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score

from graft.calibration.fitted_trust import FittedTrust
from graft.core.workspace import Workspace
from graft.inference.artifact import read_artifact
from graft.inference.predictor import Predictor
from graft.metrics.classification import METRICS
from graft.modalities.registry import find_modality
from graft.monitoring.prediction_log import PredictionLog
from graft.pipeline import (
    control,
    evaluate,
    finetune,
    ingest,
    locate,
    package,
    plan,
    score,
    select,
    split,
    tune,
    validate,
)
from graft.pipeline.execution.runner import run_stage
from graft.reporting.sections.table import SECTIONS
from graft.serving.capacity import Capacity
from graft.serving.model.bundle import ModelBundle
from graft.serving.prediction_log.record import open_prediction_log
from graft.serving.routes import create_app
from graft.serving.settings import ServiceSettings
from graft.tasks import registry
from graft.tasks.base import Task
from graft.tasks.classification.task import Classification
from graft.tasks.registry import TASKS, find_task
from tests.pipeline.conftest import ARCH, write_source
from tests.serving.conftest import bentoml_home
from tests.tasks.regression import Regression, write_numbers

REGRESSION: Task = Regression()
SETTINGS: dict[str, Any] = {
    "data": {"task": "regression", "source": "../images/numbers.csv"},
    "metric": "mae",
    "zoo": {
        "candidates": [{"arch": ARCH, "weights": "source", "size": 32}, {"arch": ARCH, "weights": "none", "size": 32}]
    },
    "select": {"folds": 2, "finalists": 1},
    "train": {"epochs": 2, "batch_size": 8},
    "augment": {"policy": "none", "domain": "any"},
    "compute": {"device": "cpu", "threads": 1},
}
STAGES = (locate, ingest, validate, split, plan, select, tune, finetune, score, package, control, evaluate)


class RunningService:
    """What the routes need of the service."""

    def __init__(self, workspace: Workspace) -> None:
        self.settings = settings = ServiceSettings.from_environment()
        self.bundle = ModelBundle.load(workspace.packaged, Capacity.of_this_machine(1), settings)
        self.prediction_log = open_prediction_log(settings, workspace.prediction_log)

    async def compute(self, call: Callable[..., Any], *args: Any) -> Any:
        return call(*args)


@pytest.fixture
def numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workspace_with: Callable[..., Path]) -> Workspace:
    """A project whose images have one number each."""
    monkeypatch.setitem(registry.TASKS, "regression", REGRESSION)
    # Tests of the service that ran in this process may have left where their predictions go.
    monkeypatch.delenv("GRAFT_PREDICTION_LOG", raising=False)
    write_numbers(tmp_path / "images", 36)
    workspace = Workspace(workspace_with(**SETTINGS))
    write_source(workspace)
    return workspace


def test_a_number_for_each_image_goes_from_ingest_to_the_service(
    numbers: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with bentoml_home(tmp_path / "bentoml"):
        for stage in STAGES:
            assert run_stage(stage.__name__.rpartition(".")[2], stage.run) == 0, capsys.readouterr().err

    table = pd.read_parquet(numbers.splits)
    test = table[table["split"] == "test"]
    assert set(test["label"].astype(float) // 10) == {0, 1, 2} and "29.17" in set(table["label"])

    board = pd.read_csv(numbers.selection / "leaderboard.csv", keep_default_na=False)
    assert set(board["metric"]) == {"mae"} and set(board.loc[board["kind"] == "control", "name"]) == {"raw pixels"}
    assert (pd.to_numeric(board["score"]) > 0).all() and set(board["knn"]) == {""}
    strategy = json.loads((numbers.training / "strategy.json").read_text())
    assert set(strategy["fold_scores"]) == {"extract", "wise_ft", "finetune"}

    artifact, model = read_artifact(numbers.finetuned), Predictor.load(numbers.finetuned)
    assert (artifact.task, artifact.classes, artifact.outputs, artifact.trust) == (
        "regression",
        (),
        ("value",),
        FittedTrust(),
    )
    assert json.loads((numbers.controls / "controls.json").read_text())["trained"] == []

    files = [numbers.raw / path for path in test["path"]]
    outputs, targets = model.predict(files)[:, 0], test["label"].astype(float)
    found = json.loads((numbers.evaluation / "metrics.json").read_text())
    assert found["mae"] == pytest.approx(mean_absolute_error(targets, outputs), rel=1e-5)
    assert found["r2"] == pytest.approx(r2_score(targets, outputs), abs=1e-5)
    assert found["mae"] < np.abs(targets - targets.mean()).mean() and found["n_test"] == len(test)
    assert found["mae_ci95"][0] < found["mae"] < found["mae_ci95"][1]
    assert not {"accuracy", "transfer", "majority", "calibration", "production"} & set(found)
    verdict = json.loads((numbers.control / "control.json").read_text())
    assert (verdict["verdict"], verdict["reason"]) == (None, "the task has no classes, so there is no control")
    written = {path.name for path in numbers.evaluation.iterdir()}
    assert written == {"metrics.json", "headline.json", "predictions.csv", "report.html", "model_card.md"}
    assert "mean absolute error" in (numbers.evaluation / "report.html").read_text()

    assert json.loads((numbers.packaged / "package.json").read_text())["metrics"]["mae"] == found["mae"]
    answer = asyncio.run(ask(RunningService(numbers), files[0].read_bytes()))
    assert answer.pop("value") == pytest.approx(outputs[0], abs=1e-3)
    assert set(answer) == {"novelty", "id", "model"} and answer["novelty"] is None
    assert PredictionLog(numbers.prediction_log).read()["label"].tolist() == [None]


async def ask(running: RunningService, image: bytes) -> dict[str, Any]:
    """What the service answers to ``POST /predict``."""
    app = create_app(lambda: running, running.settings, find_modality("auto"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
        document = (await client.get("/docs.json")).json()["components"]["schemas"]
        assert "value" in document["RegressionPredictResponse"]["properties"]
        answer = (await client.post("/predict", files={"image": image})).raise_for_status().json()
    running.prediction_log.close()
    return answer


def test_a_label_that_is_no_target_is_refused(numbers: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    source = numbers.root.parent / "images/numbers.csv"
    source.write_text(source.read_text().replace("000.png,0.00", "000.png,old"))
    assert run_stage("ingest", ingest.run) == 0 and run_stage("validate", validate.run) == 1
    assert "every image has a label" in capsys.readouterr().err


def test_what_the_task_does_not_have_is_refused_by_name(numbers: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    settings = numbers.params.read_text()
    for wanted, error in (
        (("metric: mae", "metric: accuracy"), "candidates cannot be chosen by 'accuracy'"),
        (("task: regression", "task: regresion"), "there is no task 'regresion'"),
    ):
        numbers.params.write_text(settings.replace(*wanted))
        assert run_stage("ingest", ingest.run) == 1 and error in capsys.readouterr().err


def test_classification_is_the_first_task_and_what_auto_takes() -> None:
    task = find_task("auto")
    assert isinstance(task, Classification) and find_task("classification") is task and task.metrics is METRICS
    assert [section.anchor for section in SECTIONS] == list(task.report_sections)
    labels = pd.Series(["bee", "ant", "bee"])
    assert task.strata(labels).equals(labels) and task.classes(labels) == ("ant", "bee")
    assert task.encode(labels, ("ant", "bee")).tolist() == [1, 0, 1]
    outputs = task.postprocess(np.array([[0.0, np.log(3.0)]]))
    answer = task.to_response(outputs[0], ("ant", "bee"), 0.8, 1).model_dump()
    assert answer == {"label": "bee", "probabilities": {"bee": pytest.approx(0.75)}, "unsure": True}
    loss = task.loss(torch.tensor([[0.0, np.log(3.0)]]), torch.tensor([1]))
    assert float(loss) == pytest.approx(-np.log(0.75))
    assert task.parity(outputs, np.array([[np.nan, 0.75]]), "").passed is False


@pytest.mark.parametrize("task", [*TASKS.values(), REGRESSION])
def test_every_task_names_what_is_there(task: Task) -> None:
    assert set(task.report_sections) <= {section.anchor for section in SECTIONS}
    assert task.name and task.metrics.criteria and task.probes
