"""The seam from augment to the drift of requests: vectors go through the real stages, package and routes.

Nothing of graft is copied or replaced here: a row in the table of modalities, a row in the table of architectures.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from graft.cli.predict import predict_files
from graft.core.errors import DataError
from graft.core.files import sha256
from graft.core.workspace import Workspace
from graft.inference.served_model import ServedModel
from graft.modalities import registry as modalities
from graft.modalities.base import JsonField
from graft.models.zoo import registry as zoo
from graft.monitoring.drift import drift_report
from graft.monitoring.prediction_log import PredictionLog
from graft.pipeline import (
    augment,
    control,
    evaluate,
    finetune,
    gather,
    ingest,
    locate,
    package,
    plan,
    pretrain,
    score,
    select,
    split,
    tune,
    validate,
)
from graft.pipeline.execution.runner import run_stage
from graft.serving.capacity import Capacity
from graft.serving.model.bundle import ModelBundle
from graft.serving.prediction_log.writer import PredictionLogWriter
from graft.serving.routes import create_app
from graft.serving.settings import ServiceSettings
from tests.modalities.vector_network import ARCH, VectorBuilder, write_weights
from tests.modalities.vectors import VectorModality, write_vector

BEFORE = (locate, ingest, validate, split, augment, gather, pretrain, plan)
STAGES = (*BEFORE, select, tune, finetune, score, package, control, evaluate)
SETTINGS: dict[str, Any] = {
    "data": {"source": "../vectors", "modality": "vector", "test_fraction": 0.3},
    "validation": {"near_duplicate_distance": 0},
    "zoo": {"candidates": [{"arch": ARCH, "weights": "../start.safetensors", "depth": "last", "size": 64}]},
    "select": {"folds": 2},
    "train": {"epochs": 2, "batch_size": 16, "control_steps": 4, "control_seeds": 1, "label_counts": []},
    "compute": {"device": "cpu", "threads": 1},
    "package": {"gate": {"min_accuracy": 0.5}},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A project whose model was packaged."""
    base = tmp_path_factory.mktemp("vectors")
    rng = np.random.default_rng(0)
    for label, mean in (("left", -0.12), ("right", 0.12)):
        (base / "vectors" / label).mkdir(parents=True)
        for number in range(40):
            write_vector(base / f"vectors/{label}/{number:02}.vec", rng.normal(mean, size=rng.integers(40, 128)))
    write_weights(base / "start.safetensors")
    root = base / "project"
    root.mkdir()
    with (root / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(SETTINGS, file)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("GRAFT_CACHE", str(base / "cache"))
        patch.setenv("BENTOML_HOME", str(base / "bentoml"))
        patch.setitem(modalities.MODALITIES, "vector", VectorModality())
        patch.setitem(zoo.BUILDERS, "vector:", VectorBuilder())
        for stage in STAGES:
            assert run_stage(stage.__name__.rpartition(".")[2], stage.run) == 0, stage.__name__
        yield Workspace(root)


def test_selection_trains_and_compares_on_batches_with_a_mask(project: Workspace) -> None:
    leaderboard = pd.read_csv(project.selection / "leaderboard.csv").set_index("name")
    assert leaderboard["arch"].iloc[0] == ARCH and leaderboard["memory_mb"].iloc[0] >= 0
    assert {"majority class", "raw numbers"} <= set(leaderboard.index)
    assert leaderboard.loc["raw numbers", "why"].startswith("control: a linear head on the numbers themselves")
    winner = json.loads((project.selection / "winner.json").read_text())
    assert winner["fit"] is None and set(winner["trained"]) == {"extract", "wise_ft", "finetune"}
    similarity = json.loads((project.selection / "similarity.json").read_text())
    assert "over numbers" in similarity["says"] and "pixels" not in similarity["says"]


def test_augment_says_that_there_is_nothing_to_do(project: Workspace) -> None:
    assert json.loads((project.augmentation / "policy.json").read_text())["policy"][0]["name"] == "none"
    told = json.loads((project.augmentation / "preview.json").read_text())
    assert told["why"] == "there is no augmentation for vector samples"
    assert not (project.augmentation / "preview.png").exists()


def test_the_artifact_names_its_preprocessor_and_is_read_again(project: Workspace) -> None:
    card = json.loads((project.packaged / "model.json").read_text())
    assert card["preprocessing"] == {"kind": "vector", "size": 64, "scale": 0.5}
    package = json.loads((project.packaged / "package.json").read_text())
    assert package["onnx"]["sha256"] == sha256(project.packaged / "model.onnx") and package["metrics"]["accuracy"] > 0.5
    assert ServedModel.load(project.packaged).spec.name == "onnxruntime"


def test_the_report_shows_previews_and_slices_by_the_modalitys_columns(project: Workspace) -> None:
    facts = set(pd.read_csv(project.evaluation / "slices.csv")["fact"])
    assert "norm" in facts and "brightness" not in facts
    report = (project.evaluation / "report.html").read_text()
    assert "numbers</code>" in report and "64 numbers" in report


class Service:
    """What the routes need of the service, without BentoML."""

    def __init__(self, project: Workspace, log: Path) -> None:
        self.bundle = ModelBundle.load(project.packaged, Capacity(1, 1), ServiceSettings.from_environment())
        self.prediction_log = PredictionLogWriter(PredictionLog(log))
        self.prediction_log.start()

    async def compute(self, call: Callable[..., Any], *args: Any) -> Any:
        return call(*args)


def post(service: Service, modality: VectorModality, path: str, **body: Any) -> httpx.Response:
    app = create_app(lambda: service, ServiceSettings.from_environment(), modality)

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            return await client.post(path, **body)

    return asyncio.run(send())


def test_requests_carry_a_file_and_their_statistics_are_watched(project: Workspace, tmp_path: Path) -> None:
    service, log = Service(project, tmp_path / "log.sqlite"), tmp_path / "log.sqlite"
    assert service.bundle.description["modality"] == "vector" and service.bundle.description["size"] == 64
    rng = np.random.default_rng(1)
    for _ in range(60):
        sent = " ".join(map(str, 9 * rng.normal(size=100))).encode()
        answer = post(service, VectorModality(), "/predict", files={"vector": ("a.vec", sent)})
        assert answer.status_code == 200 and set(answer.json()["probabilities"]) == {"left", "right"}
    refused = post(service, VectorModality(), "/predict", files={"vector": ("a.vec", b"one two")})
    assert refused.status_code == 400 and refused.json()["error"] == "this is not a vector of numbers"
    missing = post(service, VectorModality(), "/predict", files={"image": ("a.vec", b"1 2")})
    assert missing.status_code == 400 and missing.json()["error"] == "body.vector: Field required"
    many = post(service, VectorModality(), "/predict_batch", files=[("vector", ("a", b"1 2")), ("vector", ("b", b"x"))])
    assert [set(answer) >= {"label"} for answer in many.json()["answers"]] == [True, False]
    service.prediction_log.close()
    answers = PredictionLog(log).read()
    assert {"norm", "length"} <= set(answers) and "width" not in answers and len(answers) == 61
    drift = drift_report(project, answers, 0.2)
    assert [shift.feature for shift in drift.shifts[:2]] == ["class", "norm"] and "norm" in drift.causes


def test_requests_carry_json_where_the_modality_says_so(project: Workspace, tmp_path: Path) -> None:
    service, modality = Service(project, tmp_path / "log.sqlite"), VectorModality()
    modality.request = JsonField("numbers", "0.1 0.2")
    answer = post(service, modality, "/predict", json={"numbers": "0.5 0.5 0.5 1 1"})
    assert answer.status_code == 200 and answer.json()["label"] == "right"
    missing = post(service, modality, "/predict", json={"text": "1"})
    assert missing.status_code == 400 and missing.json()["error"] == "body.numbers: Field required"
    assert missing.json()["remedy"] == """send JSON, as in: curl --json '{"numbers": "0.1 0.2"}'"""
    many = post(service, modality, "/predict_batch", json={"numbers": ["0.5 1 1 1", "x"]})
    assert [set(answer) >= {"label"} for answer in many.json()["answers"]] == [True, False]
    service.prediction_log.close()


def test_graft_predict_reads_files_and_folders_of_the_models_modality(
    project: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "few").mkdir()
    write_vector(tmp_path / "few/a.vec", np.ones(5))
    (tmp_path / "few/photo.png").write_bytes(b"not looked at")
    predict_files([str(tmp_path / "few")], project.packaged, as_json=True, to=None)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["label"] == "right" and json.loads(line)["file"].endswith("a.vec")
    with pytest.raises(DataError, match="there is no vector in this folder"):
        (tmp_path / "none").mkdir()
        predict_files([str(tmp_path / "none")], project.packaged, as_json=True, to=None)
