"""`data.pack`: stages give the same results whether data/raw holds a file for each image or a few tar files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from graft.core.packed_files import open_folder
from graft.core.workspace import Workspace
from graft.features.cache import ArrayCache
from graft.features.image_cache import ImageSet, decoded
from graft.modalities.image.preprocessing import Geometry
from graft.monitoring.reference import training_facts
from graft.pipeline import augment, control, evaluate, finetune, ingest, package, score, select, split, tune, validate
from graft.pipeline.execution.runner import run_stage
from tests.pipeline.conftest import ARCH, SMALL, TRAIN

MADE = ("data/ingested.parquet", "data/manifest.parquet", "data/splits.parquet", "data/validated.json")
SHOWN = ("reports/validation", "reports/augmentation")


@pytest.fixture
def run_with(make_classes: Callable[..., Path], workspace_with: Callable[..., Path]) -> Callable[..., Workspace]:
    """Run stages in a workspace that was never used, with this value of `data.pack`."""
    folder = make_classes({"cat": 12, "dog": 12})
    (folder / "cat" / "broken.png").write_bytes(b"no image")

    def run(pack: int, *stages: object) -> Workspace:
        shutil.rmtree(folder.parent / "project", ignore_errors=True)
        settings = SMALL
        settings |= {"zoo": {"candidates": [{"arch": ARCH, "weights": "none", "size": 32}]}}
        settings |= {"validation": {"severity": {"decodable": "quarantine"}}}
        root = workspace_with(data={"source": "../images", "pack": pack}, train=TRAIN, **settings)
        for stage in (ingest, validate, split, augment, *stages):
            # As in the pipeline: the number of threads is what params.yaml says, whatever ran in this process before.
            assert run_stage(stage.__name__, stage.run, uses_torch=True) == 0  # type: ignore[attr-defined]
        return Workspace(root)

    return run


def written(workspace: Workspace, *parts: str) -> dict[str, bytes]:
    files = [file for part in parts for file in [workspace.root / part, *(workspace.root / part).rglob("*")]]
    return {str(file.relative_to(workspace.root)): file.read_bytes() for file in files if file.is_file()}


def test_packed_images_give_the_same_tables_reports_and_pixels(run_with: Callable[..., Workspace]) -> None:
    found, pixels = [], []
    for pack in (0, 3):
        workspace = run_with(pack)
        rows = pd.read_parquet(workspace.manifest).dropna(subset=["sha256", "width"])
        images = ImageSet(open_folder(workspace.raw), tuple(rows["path"]), tuple(rows["sha256"]))
        pixels.append(decoded(images, Geometry(32, 1.0, "bilinear"), ArrayCache(workspace.root / "kept")).tobytes())
        found.append(written(workspace, *MADE, *SHOWN))
        # What the package is compared on.
        compared = [image.read_bytes()[:4] for image in package.training_images(workspace)]
        assert len(compared) > 10 and set(compared) == {b"\x89PNG"}
    assert sorted(path.name for path in workspace.raw.iterdir()) == ["00.tar", "01.tar", "02.tar", "index.parquet"]
    assert len(found[0]) > 8
    assert found[0] == found[1]
    assert pixels[0] == pixels[1]


@pytest.mark.slow
def test_packed_images_give_the_same_model_and_figures(run_with: Callable[..., Workspace]) -> None:
    found = []
    for pack in (0, 3):
        workspace = run_with(pack, select, tune, finetune, score, control, evaluate)
        made = written(workspace, "models/finetuned", "reports/evaluation/predictions.csv", "reports/selection")
        timed = ("leaderboard.csv", ".svg")
        found.append({name: data for name, data in made.items() if not name.endswith(timed)})
        assert "the process that measures it failed" not in (workspace.evaluation / "metrics.json").read_text()
        shutil.copytree(workspace.finetuned, workspace.packaged)
        assert training_facts(workspace)["brightness"]
    assert "models/finetuned/model.safetensors" in found[0]
    assert ARCH in found[0]["reports/selection/winner.json"].decode()
    assert found[0] == found[1]


def test_packed_images_are_packed_again_without_a_trace_and_unpacked(run_with: Callable[..., Workspace]) -> None:
    workspace = run_with(3)
    before = written(workspace, "data/raw")
    assert run_stage("ingest", ingest.run) == 0
    assert written(workspace, "data/raw") == before
    text = workspace.params.read_text()
    workspace.params.write_text(text.replace("pack: 3", "pack: 0"))
    assert run_stage("ingest", ingest.run) == 0
    assert sorted(path.name for path in workspace.raw.iterdir()) == ["cat", "dog"]


def test_a_failure_leaves_the_packed_images_that_were_there(
    run_with: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = run_with(3)
    before = written(workspace, "data/raw", *MADE)
    monkeypatch.setattr("graft.data.packing.INDEX_FILE", "no/such/folder/index.parquet")
    assert run_stage("ingest", ingest.run) == 1
    assert written(workspace, "data/raw", *MADE) == before
    assert sorted(path.name for path in workspace.raw.parent.iterdir() if path.name.startswith(".raw")) == []


def test_a_damaged_tar_file_stops_a_stage_with_its_name_and_the_remedy(
    run_with: Callable[..., Workspace], capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = run_with(3)
    shard = workspace.raw / "01.tar"
    shard.write_bytes(shard.read_bytes()[:2000])
    assert run_stage("validate", validate.run) == 1
    said = capsys.readouterr().err
    assert "the tar file was cut off or is gone: 2000 bytes are there" in said and "01.tar" in said
    assert "dvc checkout --force data/raw" in said
