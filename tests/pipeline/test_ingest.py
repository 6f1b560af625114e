"""ingest: images and table are written whole, the user's folder is only read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from graft.pipeline import ingest
from graft.pipeline.execution.runner import run_stage


def test_images_and_table_are_written(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_classes({"train/cat": 3, "train/dog": 3, "val/cat": 1, "val/dog": 1, ".git/cat": 1})
    before = {path: path.stat() for path in folder.rglob("*")}
    root = workspace_with(data={"source": "../images"})
    assert run_stage("ingest", ingest.run) == 0
    table = pd.read_parquet(root / "data/ingested.parquet")
    assert table.columns.tolist() == ["path", "label", "split", "group", "source"]
    assert table["split"].tolist().count("test") == 2
    assert all((root / "data/raw" / path).is_file() for path in table["path"])
    # train/cat and val/cat both hold cat_000.png.
    assert len(set(table["path"])) == 8
    assert capsys.readouterr().out.startswith(
        "ingest: 8 images of 2 classes from ../images\n  passed over: 1 (hidden), such as .git\ningest: done in "
    )
    after = {path: path.stat() for path in folder.rglob("*")}
    assert {path: (stat.st_mode, stat.st_nlink, stat.st_mtime_ns) for path, stat in before.items()} == {
        path: (stat.st_mode, stat.st_nlink, stat.st_mtime_ns) for path, stat in after.items()
    }


def test_the_same_source_gives_the_same_bytes_again(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path]
) -> None:
    make_classes({"cat": 3, "dog": 3})
    root = workspace_with(data={"source": "../images"})
    written = []
    for _ in range(2):
        assert run_stage("ingest", ingest.run) == 0
        written.append({path.name: path.read_bytes() for path in root.rglob("data/**/*") if path.is_file()})
    assert written[0] == written[1]


def test_images_that_went_from_the_source_go_from_raw(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path]
) -> None:
    folder = make_classes({"cat": 3, "dog": 3})
    root = workspace_with(data={"source": "../images"})
    run_stage("ingest", ingest.run)
    (folder / "cat/cat_000.png").unlink()
    run_stage("ingest", ingest.run)
    assert not (root / "data/raw/cat/cat_000.png").exists()
    assert len(pd.read_parquet(root / "data/ingested.parquet")) == 5


def test_a_run_that_fails_leaves_what_was_there(
    make_classes: Callable[..., Path],
    workspace_with: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_classes({"cat": 3, "dog": 3})
    root = workspace_with(data={"source": "../images"})
    run_stage("ingest", ingest.run)
    before = sorted(root.rglob("data/**/*"))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ingest, "copy_images", fail)
    assert run_stage("ingest", ingest.run) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert sorted(root.rglob("data/**/*")) == before
    assert [path.name for path in (root / ".graft/cache").iterdir()] == []
