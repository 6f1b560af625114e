"""Another model takes the place of the one in use: whole, good and settled, or not at all."""

from __future__ import annotations

import logging
import shutil
from functools import partial
from pathlib import Path

import pytest

from graft.core.files import atomic_dir
from graft.core.workspace import Workspace
from graft.inference.package import version_of
from graft.serving.capacity import Capacity
from graft.serving.model.bundle import ModelBundle
from graft.serving.model.reload import LiveModel
from graft.serving.settings import ServiceSettings
from tests.serving.conftest import Export, finetune, package


@pytest.fixture(scope="session")
def another(tmp_path_factory: pytest.TempPathFactory, export: Export) -> Path:
    """Another packaged model; read only."""
    root = tmp_path_factory.mktemp("another")
    finetune(root / "finetuned", seed=1)
    return package(root, root / "finetuned", export).packaged


@pytest.fixture
def live(project: Workspace) -> LiveModel:
    return LiveModel(
        lambda: project.production_model,
        partial(ModelBundle.load, capacity=Capacity(1, 1), settings=ServiceSettings.from_environment()),
    )


def promote(model: Path, workspace: Workspace) -> None:
    """As `promote` does it."""
    with atomic_dir(workspace.promoted) as beside:
        shutil.copytree(model, beside, dirs_exist_ok=True)


def looks(live: LiveModel, times: int = 3) -> list[bool]:
    return [live.poll() for _ in range(times)]


def test_a_promotion_and_a_rollback_are_noticed(live: LiveModel, project: Workspace, another: Path) -> None:
    first = live.current
    assert looks(live) == [False, False, False] and live.current is first
    promote(another, project)
    # The first look sees it, the second that it has settled.
    assert looks(live) == [False, True, False]
    assert live.current.identity.version != first.identity.version
    assert live.current.description["version"] == live.current.identity.version
    promote(project.packaged, project)
    assert looks(live) == [False, True, False]
    assert live.current.identity == first.identity


def test_the_log_says_which_model_a_worker_begins_with(project: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="graft.model"):
        LiveModel(
            lambda: project.production_model,
            partial(ModelBundle.load, capacity=Capacity(1, 1), settings=ServiceSettings.from_environment()),
        )
    assert [record.getMessage() for record in caplog.records] == [f"serving graft:{version_of(project.packaged)}"]


def test_a_model_that_is_being_written_is_left_alone(live: LiveModel, project: Workspace, another: Path) -> None:
    first = live.current
    project.promoted.mkdir()
    for file in sorted(another.iterdir(), reverse=True):  # model.json is not last: what is there is not yet whole
        shutil.copy(file, project.promoted)
        assert live.poll() is False
    assert live.current is first
    assert live.poll() is True


def test_a_bad_model_is_refused_once_and_the_old_one_stays(
    live: LiveModel, project: Workspace, another: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    first = live.current
    bad = Path(shutil.copytree(another, tmp_path / "bad"))
    (bad / "model.onnx").write_bytes(b"half")
    promote(bad, project)
    with caplog.at_level(logging.INFO, logger="graft.model"):
        assert looks(live, 5) == [False] * 5
    assert live.current is first
    lines = [record.getMessage() for record in caplog.records if record.name == "graft.model"]
    assert len(lines) == 1
    assert lines[0].startswith("the production model is refused, and the one before stays: the ONNX file is")
    promote(another, project)
    assert looks(live) == [False, True, False]


def test_a_model_that_is_gone_goes_on_answering(live: LiveModel, project: Workspace) -> None:
    first = live.current
    shutil.rmtree(project.packaged)
    assert looks(live) == [False, False, False]
    assert live.current is first


def test_a_model_that_changes_while_it_is_loaded_is_not_taken(project: Workspace, another: Path) -> None:
    def load(folder: Path) -> ModelBundle:
        loaded = ModelBundle.load(folder, Capacity(1, 1), ServiceSettings.from_environment())
        if folder == project.promoted and not changed:
            changed.append(1)
            promote(project.packaged, project)
        return loaded

    changed: list[int] = []
    live = LiveModel(lambda: project.production_model, load)
    before = live.current.identity
    promote(another, project)
    assert looks(live, 2) == [False, False]
    assert live.current.identity == before
    assert looks(live, 3) == [False, True, False]  # what it was changed to, which is the first model again
    assert live.current.identity == before
