"""The monitoring flow: a table and a verdict on Prefect's page, and a message where somebody is needed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

from flows.monitor import main, monitor, rows_of
from flows.project import project_id
from graft.core.workspace import Workspace
from graft.data.validation.drift import Shift
from graft.monitoring.drift import Accuracy, DriftReport
from graft.monitoring.prediction_log import PredictionLog, PredictionRecord

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(600)]
STATS = {"width": 8, "height": 8, "brightness": 0.5, "contrast": 0.1}


def test_no_answers_are_too_few_and_still_shown(
    workspace_with: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    root = workspace_with()
    state = monitor(str(root), return_state=True)
    assert (state.name, state.message) == ("Too few answers", "too few answers: 0 answers")
    assert state.is_completed()
    chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        (shown,) = client.read_artifacts(artifact_filter=chosen)
    key = f"{project_id(Workspace(root))}-monitor"
    assert (shown.key, shown.description) == (key, "Answers of the last 7 days: too few answers: 0 answers")
    assert main(["--root", str(root)]) == 0
    assert "too few answers: 0 answers\n" in capfd.readouterr().out


def test_answers_without_training_data_fail_with_what_to_do(
    workspace_with: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    root = workspace_with()
    one = PredictionRecord("a", time.time(), "m", "ant", 0.9, False, None, STATS)
    PredictionLog(Workspace(root).prediction_log).add([one])
    assert main(["--root", str(root)]) == 1
    assert "error: there is no training data to compare with" in capfd.readouterr().err
    # An answer from before the time looked at is not asked about.
    assert main(["--root", str(root), "--days", "0"]) == 0
    assert main(["--root", str(root), "--days", "-1"]) == 1
    assert "error: there are no -1 days to look back on\n  where: days\n" in capfd.readouterr().err


def test_a_row_for_each_fact_and_one_for_accuracy() -> None:
    moved = Shift("brightness", 0.5, 0.1, "median 0.4 before, 0.9 now", 0)
    still = Shift("class", 0.1, 0.2, "a 50%", 0)
    rows = rows_of(DriftReport(100, (moved, still), 0.2, Accuracy(40, 40, 30, True, 0.9)))
    assert [(row["fact"], row["result"]) for row in rows] == [
        ("brightness", "drifted"),
        ("class", "steady"),
        ("accuracy", "worse"),
    ]
    assert rows[2]["found"] == (
        "accuracy 0.750 (0.588 to 0.873, promised 0.900) on the labels of 40 answers drawn at random"
    )
    json.dumps(rows, allow_nan=False)
    asked = rows_of(DriftReport(100, (), 0.2, Accuracy(1, 0, 0, False, 0.9, ("0a", "0b"))))
    assert [(row["result"], row["found"]) for row in asked[1:]] == [
        ("label wanted", "answer 0a"),
        ("label wanted", "answer 0b"),
    ]
