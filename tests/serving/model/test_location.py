"""Which model is served, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from bentoml.exceptions import BentoMLException

from graft.core.errors import WeightsError
from graft.core.workspace import Workspace
from graft.registry.model_store import register
from graft.serving.model.location import check_model, identity, model_folder
from graft.serving.model.project_model import ProjectModel


@pytest.fixture(autouse=True)
def _nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAFT_MODEL", raising=False)


def bento(path: Path, *tags: str) -> SimpleNamespace:
    """What is asked of a Bento: where it is and which models it holds."""
    return SimpleNamespace(path=path, info=SimpleNamespace(all_models=[SimpleNamespace(tag=tag) for tag in tags]))


def test_projects_packaged_model_is_served(project: Workspace) -> None:
    assert model_folder(None, project.root) == project.packaged


def test_bento_serves_its_own_model_whatever_lies_in_the_folder(
    project: Workspace, store: Path, tmp_path: Path
) -> None:
    tag = register(project)
    folder = model_folder(bento(tmp_path, tag), project.root)
    assert folder == store / "models" / tag.replace(":", "/")
    assert identity(folder, check_model(folder)) == identity(project.packaged, check_model(project.packaged))


def test_named_folder_comes_first(project: Workspace, finetuned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_MODEL", str(finetuned))
    assert model_folder(None, project.root) == finetuned
    assert model_folder(bento(project.root, "graft:gone"), project.root) == finetuned


@pytest.mark.parametrize("nothing", ["", " "])
def test_an_empty_name_is_none(
    project: Workspace, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing: str
) -> None:
    """As compose files and unit files write a variable that is not set."""
    monkeypatch.setenv("GRAFT_MODEL", nothing)
    built = bento(tmp_path, register(project))
    assert model_folder(built, tmp_path).is_relative_to(store)
    assert ProjectModel.in_project(project.root).resolve() == model_folder(None, project.root) == project.packaged


def test_named_folder_without_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_MODEL", str(tmp_path))
    with pytest.raises(WeightsError) as refused:
        model_folder(None, tmp_path)
    assert str(refused.value) == (
        "GRAFT_MODEL names a folder without a model\n"
        f"  where: {tmp_path}/model.json\n"
        "  remedy: unset GRAFT_MODEL, or name a folder that holds model.json and model.safetensors"
    )


def test_bento_without_its_model(tmp_path: Path, store: Path) -> None:
    with pytest.raises(WeightsError, match="the Bento's model graft:gone is not in the model store"):
        model_folder(bento(tmp_path, "graft:gone"), tmp_path)
    with pytest.raises(WeightsError, match="this Bento holds no model"):
        model_folder(bento(tmp_path), tmp_path)


def test_identity_of_a_model_that_was_not_packaged(finetuned: Path) -> None:
    card = check_model(finetuned)
    who = identity(finetuned, card)
    assert (who["name"], who["arch"], who["trained_from"]) == ("model", "shufflenet_v2_x0_5", "none")
    assert who["sha256"] == card.sha256[:12]


def test_build_without_a_packaged_model_is_a_message_of_bentoml(tmp_path: Path, store: Path) -> None:
    with pytest.raises(BentoMLException, match="no model was packaged here"):
        ProjectModel.in_project(tmp_path).to_info()


def test_build_names_the_very_model_in_the_folder(project: Workspace, store: Path) -> None:
    info = ProjectModel.in_project(project.root).to_info()
    assert str(info.tag) == f"graft:{identity(project.packaged, check_model(project.packaged))['version']}"
