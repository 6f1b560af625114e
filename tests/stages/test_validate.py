"""validate: manifest and report are written, also when the data is refused; then the message names files and page."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from graft.stages import ingest, validate
from graft.stages.runner import run_stage


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
