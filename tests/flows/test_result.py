"""The lines at the end of a run: whole, and with an answer where there is nothing to show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flows.result import summary
from graft.core.workspace import Workspace

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


def test_a_model_that_is_no_better_than_the_majority_is_told(tmp_path: Path) -> None:
    said = "No better than always answering 'ok': all test images are of that class, so they cannot show more."
    told = summary(workspace(tmp_path, METRICS | {"majority": {"says": said}}))
    assert f"macro F1  0.900\nmajority  {said}\ntransfer  helps" in told
    (tmp_path / "other").mkdir()
    assert "majority" not in summary(workspace(tmp_path / "other", METRICS | {"majority": {"says": None}}))


HURTS = "hurts: -0.300 accuracy over training from scratch (95% interval -0.400 to -0.200)"


def test_where_transfer_hurts_it_is_told(tmp_path: Path) -> None:
    transfer = {"verdict": "hurts", "difference": -0.3, "difference_ci95": [-0.4, -0.2]}
    assert f"transfer  {HURTS}\n" in summary(workspace(tmp_path, METRICS | {"transfer": transfer}))


def test_a_verdict_by_cheap_evidence_names_its_rule(tmp_path: Path) -> None:
    transfer = {"verdict": "helps", "difference": None, "rule": "a linear head against random weights"}
    found = summary(workspace(tmp_path, METRICS | {"transfer": transfer}))
    assert "transfer  helps, by a linear head against random weights\n" in found


def test_without_a_control_transfer_was_not_tested(tmp_path: Path) -> None:
    assert "transfer  not tested" in summary(workspace(tmp_path, METRICS | {"transfer": None}))
    verdict = METRICS | {"transfer": {"verdict": "undecided", "difference": None}}
    (tmp_path / "other").mkdir()
    assert "transfer  undecided\n" in summary(workspace(tmp_path / "other", verdict))
