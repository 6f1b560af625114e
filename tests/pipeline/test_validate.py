"""validate: manifest and report are written, also when the data is refused; then the message names files and page."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from graft.core.files import write_json
from graft.inference.artifact import FORMAT, Artifact
from graft.modalities.image.modality import ImageModality
from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor
from graft.pipeline import ingest, split, validate
from graft.pipeline.execution.runner import run_stage
from tests.conftest import picture


def run(root: Path) -> int:
    assert run_stage("ingest", ingest.run) == 0
    return run_stage("validate", validate.run)


def test_good_data_passes(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_classes({"cat": 6, "dog": 6})
    root = workspace_with(data={"source": "../images"})
    assert run(root) == 0
    manifest = pd.read_parquet(root / "data/manifest.parquet")
    needed = {"path", "label", "split", "width", "height", "mode", "format", "bytes", "sha256", "phash", "problems"}
    assert needed <= set(manifest.columns)
    assert json.loads((root / "reports/validation/validation.json").read_text())["success"] is True
    page = Path("reports/validation/index.html")
    assert capsys.readouterr().out.splitlines()[-2] == f"validate: 12 images meet all that is critical; see {page}"


def test_critical_findings_stop_the_run_after_the_report(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_classes({"cat": 6, "dog": 6})
    (folder / "cat/bad.jpg").write_text("text")
    root = workspace_with(data={"source": "../images"})
    assert run(root) == 1
    page = os.path.join("reports", "validation", "index.html")  # noqa: PTH118
    assert capsys.readouterr().err == (
        "error: the data is refused:\n"
        "  decodable: every file is an image that can be decoded; broken by 1: cat/bad.jpg (this is not an image but "
        "text; graft reads JPEG, PNG, WebP, HEIC, BMP, GIF and TIFF)\n"
        f"  where: {page}\n"
        "  remedy: mend or remove the files, or set validation.severity.decodable to quarantine to leave them out\n"
    )
    assert (root / "data/manifest.parquet").is_file()
    assert json.loads((root / "reports/validation/validation.json").read_text())["success"] is False


def test_quarantine_goes_on_and_lists_the_files(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_classes({"cat": 6, "dog": 6})
    (folder / "cat/bad.jpg").write_text("text")
    root = workspace_with(data={"source": "../images"}, validation={"severity": {"decodable": "quarantine"}})
    assert run(root) == 0
    assert "validate: quarantine: decodable: " in capsys.readouterr().out
    assert json.loads((root / "reports/validation/validation.json").read_text())["quarantined"] == ["cat/bad.jpg"]
    with (root / "reports/validation/quarantine.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["path"], row["label"], row["check"]) == ("cat/bad.jpg", "cat", "decodable")
    assert row["found"].startswith("this is not an image but text")


def test_any_check_of_files_can_leave_them_out(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path]
) -> None:
    folder = make_classes({"cat": 6, "dog": 6})
    picture(900, (30, 7)).save(folder / "cat/small\n<b>.png")
    root = workspace_with(
        data={"source": "../images"},
        validation={"min_images_per_class": 2, "severity": {"resolution": "quarantine"}},
        select={"folds": 2},
    )
    assert run(root) == 0
    assert run_stage("split", split.run) == 0
    marked = pd.read_parquet(root / "data/manifest.parquet")
    left_out = marked.loc[marked["quarantine"] == "resolution", "path"].tolist()
    assert len(left_out) == 1 and left_out[0].startswith("cat/small")
    assert set(pd.read_parquet(root / "data/splits.parquet")["path"]) == set(marked["path"]) - set(left_out)
    with (root / "reports/validation/quarantine.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert row == {
        "path": left_out[0],
        "source": "cat/small\\n<b>.png",
        "label": "cat",
        "check": "resolution",
        "found": "7 px",
    }


def test_an_unknown_check_is_refused_before_an_image_is_read(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_classes({"cat": 6, "dog": 6})
    root = workspace_with(data={"source": "../images"}, validation={"severity": {"decodabel": "warning"}})
    assert run(root) == 1
    assert capsys.readouterr().err == (
        "error: there is no check 'decodabel'\n  where: validation.severity\n  remedy: did you mean 'decodable'?\n"
    )
    assert not (root / "data/manifest.parquet").exists()


def checks_of(root: Path) -> dict[str, Any]:
    """What validation.json says of each check."""
    found = json.loads((root / "reports/validation/validation.json").read_text(encoding="utf-8"))
    return {item["check"]: item for item in found["expectations"]} | dict.fromkeys(found["not_checked"])


def brighten(folder: Path) -> None:
    for file in folder.rglob("*.png"):
        with Image.open(file) as image:
            image.point(lambda level: 128 + level // 2).save(file)


def test_data_is_compared_with_the_data_before_and_again_just_the_same(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path]
) -> None:
    folder = make_classes({"cat": 15, "dog": 15})
    root = workspace_with(data={"source": "../images"})
    assert run(root) == 0
    assert checks_of(root)["drift"] is None
    reports = ("reports/validation/validation.json", "reports/validation/index.html", "data/manifest.parquet")
    brighten(folder)
    assert run(root) == 0
    found = checks_of(root)["drift"]
    assert (found["success"], found["severity"]) == (False, "warning")
    assert "brightness" in found["sources"]
    first = {name: (root / name).read_bytes() for name in (*reports, "data/validated.json")}
    assert run_stage("validate", validate.run) == 0
    assert {name: (root / name).read_bytes() for name in first} == first


def test_data_that_is_refused_is_no_reference(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_classes({"cat": 15, "dog": 15})
    root = workspace_with(data={"source": "../images"}, validation={"severity": {"drift": "critical"}})
    assert run(root) == 0
    kept = (root / "data/validated.json").read_bytes()
    brighten(folder)
    for _ in range(2):
        assert run(root) == 1
        assert "drift: no fact's distribution is further than 0.2 from" in capsys.readouterr().err
    assert (root / "data/validated.json").read_bytes() == kept


def test_classes_are_compared_with_those_of_the_packaged_model(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    make_classes({"cat": 6, "dog": 6})
    root = workspace_with(data={"source": "../images"})
    assert run(root) == 0
    assert checks_of(root)["model_classes"] is None
    write_json(root / "models/packaged/model.json", card("bird", "cat"))
    assert run_stage("validate", validate.run) == 0
    found = checks_of(root)["model_classes"]
    assert (found["success"], found["severity"], found["count"]) == (False, "warning", 2)
    assert found["sources"][:2] == ["bird", "dog/dog_000.png"]
    write_json(root / "models/packaged/model.json", card("cat", "dog"))
    assert run_stage("validate", validate.run) == 0
    assert checks_of(root)["model_classes"]["success"] is True
    (root / "models/packaged/model.json").write_text("{")
    capsys.readouterr()
    assert run_stage("validate", validate.run) == 0
    said = capsys.readouterr().out
    assert said.startswith("validate: the classes are not compared with the packaged model's: model.json is damaged")
    assert checks_of(root)["model_classes"] is None


def card(*classes: str) -> dict[str, Any]:
    preprocessing = ImagePreprocessor(Geometry(32, 1.0, "bilinear"), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    model = Artifact(classes, "resnet18", "none", None, preprocessing)
    return {"format": FORMAT, **dataclasses.asdict(model)}


def test_a_second_run_decodes_only_what_is_new_though_ingest_copies_everything(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_classes({"cat": 6, "dog": 6})
    root = workspace_with(data={"source": "../images"})
    decoded: list[object] = []
    decode = ImageModality.decode
    monkeypatch.setattr(ImageModality, "decode", lambda self, raw: decoded.append(raw) or decode(self, raw))
    assert run(root) == 0
    assert len(decoded) == 12
    first = (root / "data/manifest.parquet").read_bytes()
    assert run(root) == 0
    assert len(decoded) == 12
    assert (root / "data/manifest.parquet").read_bytes() == first
    picture(900).save(folder / "cat/new.png")
    assert run(root) == 0
    assert len(decoded) == 13
    added = (root / "data/manifest.parquet").read_bytes()
    (root / ".graft/cache/stats.parquet").unlink()
    assert run_stage("validate", validate.run) == 0
    assert (root / "data/manifest.parquet").read_bytes() == added != first


LIMITED = """
import resource, signal
from graft.pipeline import validate
from graft.pipeline.execution.runner import run_stage
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
raise SystemExit(run_stage("validate", validate.run))
"""


@pytest.mark.parametrize("limit", [1500, pytest.param(12000, marks=pytest.mark.slow)])
def test_a_disk_that_fills_up_ends_in_a_message_and_leaves_what_was_there(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path], limit: int
) -> None:
    """A real limit on what may be written: at first the manifest does not fit, then the report does not."""
    folder = make_classes({"cat": 6, "dog": 6})
    root = workspace_with(data={"source": "../images"})
    assert run(root) == 0
    for number in range(900, 960):
        picture(number).save(folder / f"cat/{number}.png")
        picture(number + 100).save(folder / f"dog/{number}.png")
    assert run_stage("ingest", ingest.run) == 0
    before = {
        path: path.read_bytes() for name in ("data", "reports") for path in (root / name).rglob("*.*") if path.is_file()
    }
    done = subprocess.run(
        [sys.executable, "-B", "-c", LIMITED.format(limit=limit)], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "error: the results cannot be written: File too large\n  where: " in done.stderr
    assert "  remedy: make room there and run again; nothing half-written was left\n" in done.stderr
    after = {
        path: path.read_bytes() for name in ("data", "reports") for path in (root / name).rglob("*.*") if path.is_file()
    }
    assert after.keys() == before.keys()
    changed = {path.name for path in before if after[path] != before[path]}
    assert changed <= {"manifest.parquet", "timing.json"}
    assert len(pd.read_parquet(root / "data/manifest.parquet")) in {12, 132}


@pytest.mark.slow
def test_two_runs_at_once_on_one_workspace_wait_for_each_other(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path]
) -> None:
    make_classes({"cat": 6, "dog": 6})
    root = workspace_with(data={"source": "../images"})
    assert run_stage("ingest", ingest.run) == 0
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "graft.pipeline.validate"], cwd=root, stderr=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    # But for what each took.
    assert len({out.partition(b"validate: done")[0] for out, _ in said}) == 1
    assert [err for _, err in said if err and b"waiting, because" not in err] == []
    assert len(pd.read_parquet(root / "data/manifest.parquet")) == 12
    assert sorted(path.name for path in (root / "data").iterdir() if path.name.startswith(".")) == [".links"]
