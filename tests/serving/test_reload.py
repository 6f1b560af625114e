"""A promotion and a rollback under load, with a real `bentoml serve`: every request is answered, by one whole model."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from graft.core.files import atomic_dir
from graft.core.workspace import Workspace
from graft.inference.package import version_of
from graft.inference.predictor import Predictor
from tests.serving.conftest import Export, finetune, package
from tests.serving.process import PATIENCE, ROOT, logged_in, serving
from tests.waiting import until


class Crowd:
    """Clients that ask without end, and what they were told."""

    def __init__(self, url: str, image: bytes, clients: int = 4) -> None:
        self.url, self.image = url, image
        self.said: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._ended.is_set():
            try:
                # A connection of its own for each, so that all workers are asked.
                answer = httpx.post(f"{self.url}/predict", files={"image": self.image}, timeout=PATIENCE)
            except httpx.HTTPError as error:
                self.failures.append(repr(error))
                return
            if answer.status_code != 200:
                self.failures.append(answer.text)
            else:
                self.said.append(answer.json())

    def wait_for(self, is_there: Callable[[list[dict[str, Any]]], bool]) -> None:
        """Until the last answers are as wished."""
        start = len(self.said)
        until(lambda: self.failures or is_there(self.said[start:]), PATIENCE)
        assert self.failures == []


@pytest.mark.slow  # a real service; test_live.py has the same promises without processes
def test_another_model_reaches_all_workers_and_no_request_is_dropped(
    project: Workspace, environment: dict[str, str], tmp_path: Path, png: bytes, export: Export
) -> None:
    finetune(tmp_path / "finetuned", seed=1)
    other = package(tmp_path / "other", tmp_path / "finetuned", export).packaged
    shutil.copy(ROOT / "bentofile.yaml", project.root)
    old, new = version_of(project.packaged), version_of(other)

    def only(version: str) -> Callable[[list[dict[str, Any]]], bool]:
        # What was asked of the model before is out by then.
        return lambda said: len(said) >= 20 and {one["model"]["version"] for one in said[-20:]} == {version}

    with serving(project.root, {**environment, "GRAFT_WORKERS": "2"}) as url, Crowd(url, png) as crowd:
        log = project.root / "serve.log"
        # Ready is who answers first: the other one may still be loading.
        until(lambda: len(who_says(f"serving graft:{old}", log)) == 2, PATIENCE)
        crowd.wait_for(only(old))
        for model, version, before in ((other, new, old), (project.packaged, old, new)):
            with atomic_dir(project.promoted) as beside:
                shutil.copytree(model, beside, dirs_exist_ok=True)
            taken = f"now serving graft:{version}, before graft:{before}"
            until(lambda taken=taken: len(who_says(taken, log)) == 2, PATIENCE)  # type: ignore[misc]
            crowd.wait_for(only(version))
        # Half a model, and then none: nothing changes.
        (project.promoted / "model.onnx").write_bytes(b"half")
        crowd.wait_for(lambda said: len(said) >= 50)
        shutil.rmtree(project.promoted)
        crowd.wait_for(only(old))
        assert httpx.get(f"{url}/model", timeout=PATIENCE).json()["version"] == old
    assert crowd.failures == []
    wanted = {version: probabilities(folder, png) for version, folder in ((old, project.packaged), (new, other))}
    for one in crowd.said:
        assert one["probabilities"] == pytest.approx(wanted[one["model"]["version"]], abs=1e-6)


def who_says(message: str, log: Path) -> set[int]:
    """The processes that say this in the service's log."""
    return {line["process"] for line in logged_in(log) if line["message"] == message}


def probabilities(folder: Path, image: bytes) -> dict[str, float]:
    predictor = Predictor.load(folder)
    return dict(zip(predictor.classes, predictor.predict([image])[0].tolist(), strict=True))
