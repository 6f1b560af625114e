"""graft doctor and the pipeline's first stages give one verdict on the same folder under the same params.yaml."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from graft.cli.doctor import run_doctor
from graft.core.exit_code import exit_code
from graft.pipeline import ingest, locate, split, validate
from graft.pipeline.execution.runner import run_stage
from tests.conftest import write_classes


@dataclass(frozen=True)
class Case:
    """A folder, a params.yaml, and whether a training would begin.

    Attributes:
        counts: images of each class folder.
        params: sections of params.yaml.
        goes: the verdict.
        spoil: what is done to the folder.
        source: the value of data.source, below the folder above it.
    """

    counts: dict[str, int]
    params: dict[str, dict[str, Any]] = field(default_factory=dict)
    goes: bool = True
    spoil: Callable[[Path], object] = lambda folder: None
    source: str = "images"


def damage(folder: Path) -> None:
    (folder / "cat/bad.png").write_bytes(b"")


def label_twice(folder: Path) -> None:
    shutil.copy(folder / "cat/cat_000.png", folder / "dog/same.png")


def list_in(folder: Path, heading: str = "path,label", extra: str = "") -> None:
    rows = [f"{path.relative_to(folder)},{path.parent.name}" for path in sorted(folder.rglob("*.png"))]
    (folder / "t.csv").write_text("\n".join([heading, *rows]) + "\n" + extra)


def flatten(folder: Path) -> None:
    """train/cat/cat_000.png -> train/cat_000.png, and test images without a label beside them."""
    for file in sorted(folder.rglob("*.png")):
        file.rename(file.parents[1] / file.name)
    write_classes(folder, {"test": 5}, seed=900)
    for file in (folder / "test").iterdir():
        file.rename(file.with_name(file.name.removeprefix("test_")))


FOLDS = {"select": {"folds": 4}}
CASES = {
    "plain": Case({"cat": 12, "dog": 12}),
    "few for five folds": Case({"cat": 5, "dog": 5}, goes=False),
    "fewer folds, as it was advised": Case({"cat": 5, "dog": 5}, FOLDS),
    "more folds": Case({"cat": 12, "dog": 12}, {"select": {"folds": 12}}, goes=False),
    "no test left": Case({"cat": 18, "dog": 18}, {"data": {"train_per_class": 20}}, goes=False),
    "a test left": Case({"cat": 18, "dog": 18}, {"data": {"train_per_class": 12}}),
    "a higher bar": Case({"cat": 12, "dog": 12}, {"validation": {"min_images_per_class": 13}}, goes=False),
    "a lower bar": Case({"cat": 12, "dog": 3}, {"select": {"folds": 2}, "validation": {"min_images_per_class": 3}}),
    "damaged": Case({"cat": 12, "dog": 12}, goes=False, spoil=damage),
    "damaged, left out": Case(
        {"cat": 12, "dog": 12}, {"validation": {"severity": {"decodable": "quarantine"}}}, spoil=damage
    ),
    "two labels": Case({"cat": 12, "dog": 12}, goes=False, spoil=label_twice),
    "two labels, left out": Case(
        {"cat": 12, "dog": 12}, {"validation": {"severity": {"label_conflict": "quarantine"}}}, spoil=label_twice
    ),
    "a warning made critical": Case(
        {"cat": 40, "dog": 12}, {"validation": {"max_imbalance": 2.0, "severity": {"balance": "critical"}}}, goes=False
    ),
    "one class": Case({"cat": 12}, goes=False),
    "no images": Case({"cat": 0, "dog": 0}, goes=False),
    "no folder": Case({"cat": 12, "dog": 12}, goes=False, source="imges"),
    "divided": Case({"train/cat": 12, "train/dog": 12, "test/cat": 3, "test/dog": 3}),
    "divided, nothing to train on": Case({"test/cat": 12, "test/dog": 12}, goes=False),
    "divided, a class without training": Case({"train/cat": 12, "train/dog": 12, "test/bird": 6}, goes=False),
    "a table": Case({"cat": 12, "dog": 12}, source="images/t.csv", spoil=list_in),
    "a table that lists what is not there": Case(
        {"cat": 12, "dog": 12}, goes=False, source="images/t.csv", spoil=lambda to: list_in(to, extra="no.png,cat\n")
    ),
    "a table by other names": Case(
        {"cat": 12, "dog": 12}, goes=False, source="images/t.csv", spoil=lambda to: list_in(to, "file,class")
    ),
    "a setting that cannot be": Case({"cat": 12, "dog": 12}, {"select": {"folds": 1}}, goes=False),
    "a check that is none": Case(
        {"cat": 12, "dog": 12}, {"validation": {"severity": {"nothing": "ignore"}}}, goes=False
    ),
    "files of two splits": Case({"train": 12, "test": 12}, goes=False),
    "labels in the files' names": Case(
        {"train/cat": 12, "train/dog": 12}, {"data": {"label_from": r"([a-z]+)_\d+\.png$"}}, spoil=flatten
    ),
    "labels in no file's name": Case({"cat": 12, "dog": 12}, {"data": {"label_from": "no (such) name"}}, goes=False),
    "a pattern without a group": Case({"cat": 12, "dog": 12}, {"data": {"label_from": "cat"}}, goes=False),
    "a pattern for a table": Case(
        {"cat": 12, "dog": 12}, {"data": {"label_from": "(c)"}}, goes=False, source="images/t.csv", spoil=list_in
    ),
    "the project inside": Case({"cat": 12, "dog": 12}, goes=False, source="."),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_doctor_says_what_the_pipeline_does(
    case: Case, tmp_path: Path, workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    case.spoil(write_classes(tmp_path / "images", case.counts))
    source = f"../{case.source}"
    sections = {"select": {"folds": 5}, **case.params}
    root = workspace_with(**{**sections, "data": {**sections.get("data", {}), "source": source}})
    codes: list[int] = []
    code = exit_code(lambda: codes.append(run_doctor(source, True, None, False, None)))
    said = capsys.readouterr().out
    stages = (locate, ingest, validate, split)
    went = all(run_stage(stage.__name__, stage.run) == 0 for stage in stages)
    assert (went, (code or codes[0]) == 0) == (case.goes, case.goes), said + capsys.readouterr().err
    capsys.readouterr()
    if case.goes:
        found = json.loads(said)
        assert found["settings"] == str(root / "params.yaml")
        sizes = pd.read_parquet(root / "data/splits.parquet")["split"].value_counts()
        assert (found["split"]["train"], found["split"]["test"]) == (sizes["train"], sizes["test"])
        # By what the split has written down the second answer is the first one.
        assert run_doctor(source, True, None, False, None) == 0
        assert json.loads(capsys.readouterr().out)["split"] == found["split"]


def test_what_the_data_is_compared_with_is_the_projects(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_classes({"cat": 15, "dog": 15})
    make_classes({"cat": 15, "dog": 15}, "others", size=(60, 60), seed=900)
    workspace_with(data={"source": "../images"}, validation={"severity": {"drift": "critical"}})
    for stage in (ingest, validate):
        assert run_stage(stage.__name__, stage.run) == 0
    assert (run_doctor("../images", False, None, False, None), run_doctor("../others", False, None, False, None)) == (
        0,
        1,
    )
    assert "critical drift: expected that no fact's distribution is further than 0.2" in capsys.readouterr().out


def test_from_a_folder_inside_the_project_its_settings_are_taken_and_named(
    make_classes: Callable[..., Path],
    workspace_with: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = make_classes({"cat": 5, "dog": 5})
    root = workspace_with(select={"folds": 4})
    (root / "notes").mkdir()
    monkeypatch.chdir(root / "notes")
    assert run_doctor("../../images", False, None, False, None) == 0
    assert f"  held to {root / 'params.yaml'}\n" in capsys.readouterr().out
    monkeypatch.chdir(folder)
    assert run_doctor(".", False, None, False, None) == 1
    assert "  held to graft's defaults: no params.yaml is here, nor in a folder above\n" in capsys.readouterr().out


def test_a_params_yaml_that_cannot_be_read_is_no_verdict_on_the_data(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_classes({"cat": 12, "dog": 12})
    workspace_with(select={"fold": 4})
    assert exit_code(lambda: run_doctor("../images", False, None, False, None)) == 1
    said = capsys.readouterr()
    assert said.err == "error: unknown key 'select.fold'\n  where: params.yaml\n  remedy: did you mean 'folds'?\n"
    assert said.out == ""
