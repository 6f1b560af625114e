"""What a model was made from: the same for the same data and settings, another for any change that matters."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from graft.core.config import parse_params
from graft.core.files import sha256
from graft.core.workspace import Workspace
from graft.inference.artifact import Artifact
from graft.inference.package import PackagedModel
from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor
from graft.registry.git import Checkout
from graft.registry.provenance import data_hash, origin_of
from tests.registry.conftest import Project, git

CARD = Artifact(
    ("a", "b"), "resnet18", "none", None, ImagePreprocessor(Geometry(32, 1, "bilinear"), (0.5,) * 3, (0.5,) * 3)
)
ROWS = [("a/1.png", "a", "train", "11"), ("a/2.png", "a", "test", "22"), ("b/1.png", "b", "train", "33")]
SETTINGS = {"zoo": {"candidates": ["resnet18"]}}


def write(workspace: Workspace, rows: list[tuple[str, str, str, str]]) -> str | None:
    table = pd.DataFrame(rows, columns=["path", "label", "split", "sha256"])
    workspace.splits.parent.mkdir(parents=True, exist_ok=True)
    table[["path", "label", "split"]].to_parquet(workspace.splits)
    table[["path", "sha256"]].to_parquet(workspace.manifest)
    return data_hash(workspace, CARD)


def test_data_is_its_images_labels_and_division_in_any_order(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert data_hash(workspace, CARD) is None
    known = write(workspace, ROWS)
    assert known is not None and len(known) == 64
    assert write(workspace, ROWS[::-1]) == known
    others = {write(workspace, [(*ROWS[0][:at], "other", *ROWS[0][at + 1 :]), *ROWS[1:]]) for at in range(4)}  # type: ignore[list-item]
    assert len({known, *others, write(workspace, ROWS[1:])}) == 6


def test_data_that_the_model_was_not_trained_on_is_not_its_data(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    known = write(workspace, ROWS)
    of_these = dataclasses.replace(CARD, provenance={"splits_sha256": sha256(workspace.splits)})
    assert data_hash(workspace, of_these) == known
    write(workspace, ROWS[1:])
    assert data_hash(workspace, of_these) is None


def test_settings_are_hashed_with_their_defaults(tmp_path: Path) -> None:
    def of(**sections: object) -> str:
        return origin_of(parse_params({**SETTINGS, **sections}, "here"), Workspace(tmp_path), CARD).params

    assert of() == of(seed=0) == of(select={"folds": 5}), "a default that is written down changes nothing"
    assert len({of(), of(seed=1), of(train={"weight_decay": 0.5})}) == 3


def test_the_commit_says_whether_code_or_settings_had_changed(project: Project) -> None:
    def commit() -> str | None:
        return origin_of(parse_params(SETTINGS, "here"), project.workspace, CARD).commit

    head = git(project.root, "rev-parse", "HEAD")
    assert commit() == head
    (project.root / "note.txt").write_text("no part of the code")
    (project.root / "dvc.lock").write_text("{}")
    assert commit() == head
    (project.root / "params.yaml").write_text("seed: 2\n")
    assert commit() == f"{head}-dirty"


def test_without_git_there_is_no_commit(tmp_path: Path) -> None:
    assert Checkout.of(tmp_path) is None
    assert origin_of(parse_params(SETTINGS, "here"), Workspace(tmp_path), CARD).commit is None


@pytest.mark.parametrize("figures", [{}, {"accuracy": None, "accuracy_ci95": None}])
def test_labels_tell_only_what_is_known(figures: dict) -> None:
    assert PackagedModel("birds", "0123456789ab", figures).labels == {"model": "birds:0123456789ab"}
