"""The lines at the end of a run: whole, and with an answer where there is nothing to show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flows.result import read_metrics, summary
from graft.errors import GraftError
from graft.workspace import Workspace

METRICS: dict[str, Any] = {
    "accuracy": 0.9123,
    "accuracy_ci95": [0.9, 0.925],
    "macro_f1": 0.9,
    "n_test": 1597,
    "transfer": {"verdict": "helps", "difference": 0.12, "difference_ci95": [0.09, 0.15]},
}


def workspace(tmp_path: Path, metrics: object) -> Workspace:
    made = Workspace(tmp_path)
    made.evaluation.mkdir(parents=True)
    (made.evaluation / "metrics.json").write_text(json.dumps(metrics))
    return made


def test_the_whole_summary(tmp_path: Path) -> None:
    assert summary(workspace(tmp_path, METRICS)).splitlines() == [
        "accuracy  0.912 (95% interval 0.900 to 0.925) on 1597 test images that nothing was chosen by",
        "macro F1  0.900",
        "transfer  helps: +0.120 accuracy over training from scratch (95% interval 0.090 to 0.150)",
        f"report    {tmp_path}/reports/evaluation/report.html",
        f"model     {tmp_path}/models/packaged",
        "serve it  make serve",
    ]


def test_without_a_control_transfer_was_not_tested(tmp_path: Path) -> None:
    assert "transfer  not tested (train.control is false)" in summary(workspace(tmp_path, METRICS | {"transfer": None}))
    verdict = METRICS | {"transfer": {"verdict": "undecided", "difference": None}}
    (tmp_path / "other").mkdir()
    assert "transfer  undecided\n" in summary(workspace(tmp_path / "other", verdict))


def test_no_result_yet(tmp_path: Path) -> None:
    with pytest.raises(GraftError, match="there is no result yet") as caught:
        read_metrics(Workspace(tmp_path))
    assert caught.value.remedy == "run `.venv/bin/dvc repro`"


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    made = workspace(tmp_path, {})
    (made.evaluation / "metrics.json").write_text(text)
    with pytest.raises(GraftError, match=r"metrics\.json"):
        read_metrics(made)
