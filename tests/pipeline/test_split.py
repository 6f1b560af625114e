"""split: the table of the contract, from the manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from graft.data.splits.splits import DataSplit
from graft.pipeline import ingest, split, validate
from graft.pipeline.execution.runner import run_stage


def run() -> int:
    assert run_stage("ingest", ingest.run) == 0
    assert run_stage("validate", validate.run) == 0
    return run_stage("split", split.run)


def test_the_table_is_written(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_classes({"cat": 8, "dog": 8})
    root = workspace_with(data={"source": "../images", "train_per_class": 4})
    assert run() == 0
    table = pd.read_parquet(root / "data/splits.parquet")
    assert table.dtypes.astype(str).to_dict() == {
        "path": "str",
        "label": "str",
        "split": "str",
        "fold": "int64",
        "group": "int64",
    }
    assert table.groupby(["split", "fold"]).size().to_dict() == {("test", -1): 8, ("train", 0): 4, ("train", 1): 4}
    assert capsys.readouterr().out.splitlines()[-2] == "split: 8 images to train on in 2 folds, 8 to test on"


def test_what_was_tested_stays_tested_and_a_deleted_history_draws_anew(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_classes({"cat": 20, "dog": 30})
    root = workspace_with(data={"source": "../images"})
    history = root / "data/split_history.json"

    def sides() -> dict[str, str]:
        assert run() == 0
        table = pd.read_parquet(root / "data/splits.parquet")
        return dict(zip(table["path"], table["split"], strict=True))

    first = sides()
    assert "split: no earlier division is remembered, so the test is drawn anew\n" in capsys.readouterr().out
    make_classes({"cat": 60, "dog": 30})
    second = sides()
    assert "split: what was tested before stays tested, and what was trained on is not tested\n" in (
        capsys.readouterr().out
    )
    assert {path: second[path] for path in first} == first
    assert [side for path, side in sorted(second.items()) if path.startswith("cat/")].count("test") == 12
    kept = history.read_bytes()
    assert sides() == second and history.read_bytes() == kept
    capsys.readouterr()
    # Another share is another question.
    workspace_with(data={"source": "../images", "test_fraction": 0.3})
    third = sides()
    assert (
        "split: the test is drawn anew, because it was drawn by other settings before (test_fraction 0.2, "
        "train_per_class None)\n"
    ) in capsys.readouterr().out
    assert {path for path, side in second.items() if side == "test"} < {
        path for path, side in third.items() if side == "test"
    }
    history.unlink()
    sides()
    assert "split: no earlier division is remembered, so the test is drawn anew\n" in capsys.readouterr().out


def test_other_ways_to_divide_leave_the_history_alone(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_classes({"cat": 20, "dog": 30})
    root = workspace_with(data={"source": "../images", "split": "hash"})
    history = root / "data/split_history.json"
    assert run() == 0
    assert "remembered" not in capsys.readouterr().out
    assert '"tested": []' in history.read_text()  # DVC refuses a stage that does not write what it is to write
    workspace_with(data={"source": "../images"})
    assert run() == 0
    kept = history.read_bytes()
    assert b'"tested": []' not in kept
    workspace_with(data={"source": "../images", "split": "hash"})
    assert run() == 0 and history.read_bytes() == kept


def test_a_damaged_history_is_refused(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_classes({"cat": 8, "dog": 8})
    root = workspace_with(data={"source": "../images"})
    (root / "data").mkdir()
    (root / "data/split_history.json").write_text("")
    assert run() == 1
    assert capsys.readouterr().err == (
        "error: the record of which images were tested is damaged: Expecting value: line 1 column 1 (char 0)\n"
        "  where: data/split_history.json\n  remedy: `.venv/bin/dvc checkout data/split_history.json` brings the last "
        "one back; delete it, and the test is drawn anew\n"
    )


def test_what_was_quarantined_is_left_out(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (make_classes({"cat": 8, "dog": 8}) / "cat/bad.jpg").write_text("text")
    root = workspace_with(data={"source": "../images"}, validation={"severity": {"decodable": "quarantine"}})
    assert run() == 0
    assert "cat/bad.jpg" not in set(pd.read_parquet(root / "data/splits.parquet")["path"])
    assert "; 1 left out\n" in capsys.readouterr().out


def test_what_is_lent_to_the_test_is_said(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_classes({"cat": 8, "dog": 8})
    root = workspace_with(data={"source": "../images", "test_fraction": 0.001, "split": "hash"})
    assert run() == 0
    table = pd.read_parquet(root / "data/splits.parquet")
    cat, dog = table.loc[table["split"] == "test", "path"]
    *_, said = capsys.readouterr().out.rpartition("split: 14")
    assert said.startswith(
        " images to train on in 2 folds, 2 to test on\n"
        f"  none of class 'cat' was drawn for the test, so it lends {cat}, which may go back to training when images"
        f" are added\n  none of class 'dog' was drawn for the test, so it lends {dog}, which may go back to training"
        " when images are added\n"
    )


def test_long_lists_are_cut_short_and_company_is_counted() -> None:
    table = pd.DataFrame({"split": ["train"] * 9 + ["test"] * 7})
    lent = {f"class {number}": (f"{number}.png", f"{number}b.png") for number in range(7)}
    lines = split.summary(DataSplit(table, {"a": 2, "b": 3}, lent), 16, 3).splitlines()
    assert lines[1] == "  5 of these are tested because they look like a test image or share a group with one"
    assert lines[2].startswith("  none of class 'class 0' was drawn for the test, so it lends 0.png and 1 more, which")
    assert len(lines) == 8 and lines[-1] == "  and so do 2 more classes"


def test_fewer_images_than_folds_are_refused(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_classes({"cat": 20, "dog": 5})
    root = workspace_with(data={"source": "../images"}, select={"folds": 5})
    assert run() == 1
    assert capsys.readouterr().err == (
        "error: class 'dog' has 4 training images, fewer than the 5 folds\n  where: select.folds\n"
        "  remedy: add images of it, or set select.folds to 4 or less\n"
    )
    assert not (root / "data/splits.parquet").exists()
