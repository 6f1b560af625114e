"""locate: the links that DVC watches."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from graft.core.config import load_params
from graft.core.errors import DataError, WeightsError
from graft.pipeline.execution.runner import run_stage
from graft.pipeline.locate import refuse_missing, run


def test_the_link_leads_to_the_source(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_classes({"cat": 3, "dog": 3})
    root = workspace_with(data={"source": "../images"})
    assert run_stage("locate", run) == 0
    assert (root / "data/.links/data.source/cat/cat_000.png").is_file()
    assert capsys.readouterr().out.startswith("locate: 6 images in ../images\nlocate: done in ")


def test_what_cannot_be_watched_is_said(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (make_classes({"cat": 3, "dog": 3}) / "cat/x").symlink_to("nowhere")
    workspace_with(data={"source": "../images"})
    assert run_stage("locate", run) == 0
    said = capsys.readouterr().out
    assert "changes of the data will not be noticed, because " in said
    assert "cat/x is a link that leads nowhere; after a change run `dvc repro --force --single-item ingest`" in said


def test_a_missing_source_ends_in_one_message(
    workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = workspace_with(data={"source": "../imagse"})
    assert run_stage("locate", run) == 1
    assert capsys.readouterr().err.startswith("error: there is no such folder or table\n  where: ../imagse\n  remedy: ")
    assert not (root / "data").exists()


def test_a_missing_weights_file_is_refused_before_anything_is_linked(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_classes({"cat": 3, "dog": 3})
    own = {"arch": "resnet18", "weights": "../own.pth"}
    root = workspace_with(data={"source": "../images"}, zoo={"candidates": [own]})
    assert run_stage("locate", run) == 1
    assert capsys.readouterr().err.startswith(
        f"error: the weights file is not there\n  where: {root}/../own.pth\n  remedy: put it there, or mend the path"
    )
    assert not (root / "data").exists()
    (root.parent / "own.pth").write_bytes(b"any")
    assert run_stage("locate", run) == 0
    assert sorted(path.name.partition("-")[2] for path in (root / "data/.links/weights").iterdir()) == ["", "own.pth"]


def test_what_is_gone_since_is_named_with_the_nearest_name(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], tmp_path: Path
) -> None:
    """For those who ask before DVC, which would name only the link of `locate`."""
    make_classes({"cat": 3, "dog": 3})
    (tmp_path / "own.pth").write_bytes(b"any")
    root = workspace_with(
        data={"source": "../images"},
        pretrain={"source": "../images"},
        zoo={"candidates": [{"arch": "resnet18", "weights": "../own.pth"}]},
    )
    params = load_params(root / "params.yaml")
    refuse_missing(params, root)
    (tmp_path / "own.pth").unlink()
    with pytest.raises(WeightsError, match="the weights file is not there"):
        refuse_missing(params, root)
    (tmp_path / "images").rename(tmp_path / "images-2026")
    with pytest.raises(DataError) as caught:
        refuse_missing(params, root)
    assert caught.value.message() == (
        f"there is no such folder or table\n  where: {root}/../images\n"
        "  remedy: name what is there (data.source, or the command's argument); did you mean 'images-2026' or 'digits'?"
    )
    with pytest.raises(DataError, match=r"\(pretrain.source, or the command's argument\); did you mean"):
        refuse_missing(dataclasses.replace(params, data=dataclasses.replace(params.data, source="digits")), root)


def test_a_device_that_is_not_there_is_refused_by_the_first_stage_before_any_work(
    make_classes: Callable[..., Path],
    workspace_with: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    make_classes({"cat": 3, "dog": 3})
    root = workspace_with(data={"source": "../images"}, compute={"device": "cuda"})
    assert run_stage("locate", run) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: there is no 'cuda' here: torch ")
    assert "\n  where: compute.device\n  remedy: set compute.device: auto, which takes a GPU if there is one" in said
    assert not (root / "data/.links").exists()
