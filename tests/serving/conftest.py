"""A tiny packaged model, a model store of its own, and the service in process."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from graft.calibration.fitted_trust import FittedTrust, Novelty, Temperature, Threshold
from graft.calibration.novelty import features_of
from graft.core.files import atomic_dir, sha256, write_json
from graft.core.workspace import Workspace
from graft.inference.artifact import ARTIFACT_FILE, Artifact, save_artifact
from graft.inference.package import ONNX_FILE, write_package
from graft.inference.parity import write_onnx
from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor

CLASSES = ("ant", "bee", "wasp")
DEPTH = 0  # one block is enough to serve, and its export takes 2 s instead of 7
METRICS = {"accuracy": 0.93, "accuracy_ci95": [0.91, 0.95], "n_test": 153, "nothing": {"n": None}}


@pytest.fixture(autouse=True)
def _logs_reach_caplog(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that was started in this process keeps graft's log records from the root logger's handlers."""
    monkeypatch.setattr(logging.getLogger("graft"), "propagate", True)


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG of coloured noise; read only."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("images") / "a.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="session")
def png(image: Path) -> bytes:
    """The bytes of that PNG."""
    return image.read_bytes()


def finetune(folder: Path, seed: int = 0, classes: tuple[str, ...] = CLASSES) -> Artifact:
    """Write a real model with random weights, as the finetune stage leaves one."""
    import torch

    from graft.models.zoo.registry import build_network

    torch.manual_seed(seed)
    preprocessing = ImagePreprocessor(Geometry(32, 1.0, "bilinear"), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    network = build_network("shufflenet_v2_x0_5", len(classes), DEPTH).eval()
    seen = np.random.default_rng(seed).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    trust = FittedTrust(
        Temperature(2.0, 1.5, 2.5, 40, None), Threshold(0.6, 0.95, 40, None), Novelty(0.5, 1, 0.95, 40, 12)
    )
    artifact = Artifact(
        classes, "shufflenet_v2_x0_5", "none", DEPTH, preprocessing, provenance={"seed": seed}, trust=trust
    )
    return save_artifact(folder, artifact, network, features_of(network, preprocessing, seen))


@pytest.fixture(scope="session")
def finetuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuned model; read only."""
    folder = tmp_path_factory.mktemp("finetuned") / "model"
    finetune(folder)
    return folder


Export = Callable[[Path], Mapping[str, Any]]


def export_once(kept: Path) -> Export:
    """The real export to ONNX, which takes seconds; ``kept`` remembers what it wrote for each model.json."""

    def export(folder: Path, images: Sequence[Path] = ()) -> Mapping[str, Any]:
        place = kept / sha256(folder / ARTIFACT_FILE)
        with FileLock(kept / "lock"):
            if not place.exists():
                said = write_onnx(folder, images)
                with atomic_dir(place) as beside:
                    shutil.copy(folder / ONNX_FILE, beside)
                    write_json(beside / "said.json", said)
        shutil.copy(place / ONNX_FILE, folder)
        remembered: dict[str, Any] = json.loads((place / "said.json").read_text())
        return remembered

    return export


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Exports each model once in a run of the tests, whichever of pytest's processes asks."""
    base = tmp_path_factory.getbasetemp()
    kept = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "exports"
    kept.mkdir(exist_ok=True)
    return export_once(kept)


def package(root: Path, finetuned: Path, export: Export | None = None) -> Workspace:
    """A project folder that holds a packaged model and nothing else; ``export`` writes its ONNX file."""
    workspace = Workspace(root)
    check = {"condition": "min_accuracy", "limit": 0.8, "figure": 0.93, "passed": True}
    write_package(finetuned, workspace.packaged, "graft", METRICS, [check], export)
    return workspace


@pytest.fixture
def project(tmp_path: Path, finetuned: Path, export: Export) -> Workspace:
    """A project of the test's own, at a path with a space."""
    return package(tmp_path / "a project", finetuned, export)


@contextmanager
def bentoml_home(home: Path) -> Iterator[Path]:
    """Point BentoML at ``home``; it remembers where its home is, and is made to forget that for a while."""
    from bentoml._internal.configuration.containers import BentoMLContainer
    from simple_di import sentinel

    names = ("bentoml_home", "model_store_dir", "tmp_bento_store_dir", "model_store", "bento_store_dir", "bento_store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(home))
        for name in names:
            patch.setattr(getattr(BentoMLContainer, name), "_cache", sentinel)
        yield home


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Path]:
    """An empty BentoML home of the test's own."""
    with bentoml_home(tmp_path / "bentoml home") as home:
        yield home


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, finetuned: Path, export: Export) -> Workspace:
    """The project whose model the service in process serves; read only."""
    return package(tmp_path_factory.mktemp("served"), finetuned, export)


@pytest.fixture(scope="session")
def ask(served: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Send one request to the service: ``ask("GET", "/model")``; keywords are httpx's.

    Started once, as a worker starts it: BentoML's metrics are the process's, and do not stand a second application.
    """
    import httpx

    with pytest.MonkeyPatch.context() as patch, bentoml_home(tmp_path_factory.mktemp("bentoml")):
        patch.setenv("GRAFT_MODEL", str(served.packaged))
        patch.setenv("GRAFT_PREDICTION_LOG", str(tmp_path_factory.mktemp("log") / "predictions.sqlite"))
        from graft.serving.service import Classifier

        app = Classifier.to_asgi()
        with asyncio.Runner() as runner:
            lifespan = app.router.lifespan_context(app)
            runner.run(lifespan.__aenter__())
            client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost")
            yield lambda *request, **how: runner.run(client.request(*request, **how))
            runner.run(client.aclose())
            runner.run(lifespan.__aexit__(None, None, None))


@pytest.fixture
def damaged(project: Workspace) -> Callable[[], None]:
    """PromotionResult one byte of the packaged weights, as a bad disk or copy does."""

    def damage() -> None:
        path = project.packaged / "model.safetensors"
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)

    return damage


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A model store of its own; a `uv` that fails, so that a build that asks a package index is noticed."""
    stub = tmp_path / "bin" / "uv"
    stub.parent.mkdir()
    stub.write_text("#!/bin/sh\nexit 1\n")
    stub.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BENTOML", "GRAFT"))}
    return {
        **kept,
        "BENTOML_HOME": str(tmp_path / "bentoml home"),
        "PATH": f"{stub.parent}:{kept['PATH']}",
    }
