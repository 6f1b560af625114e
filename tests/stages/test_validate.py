"""validate: manifest and report are written, also when the data is refused; then the message names files and page."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from graft.artifact import FORMAT, Artifact
from graft.files import write_json
from graft.stages import ingest, split, validate
from graft.stages.runner import run_stage
from graft.zoo.preprocessing import Geometry, Preprocessing
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
    assert capsys.readouterr().out.endswith(f"validate: 12 images meet all that is critical; see {page}\n")


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
        "text; graft reads JPEG, PNG, WebP, BMP, GIF and TIFF)\n"
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
    assert said.startswith("validate: the classes are not compared with the packaged model's: the model's card is dama")
    assert checks_of(root)["model_classes"] is None


def card(*classes: str) -> dict[str, Any]:
    preprocessing = Preprocessing(Geometry(32, 1.0, "bilinear"), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    model = Artifact(classes, "resnet18", "none", None, preprocessing)
    return {"format": FORMAT, **dataclasses.asdict(model)}
