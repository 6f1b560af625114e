"""The flow on a real (temporary) Prefect server: a task per stage, states, artifacts, failures, retries."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import TaskRun

from flows import pipeline as module
from flows.pipeline import main, pipeline
from flows.project import project_id
from graft.core.workspace import Workspace
from tests.flows.test_project import locked_by_another
from tests.flows.toy import Toy
from tests.waiting import until

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(600)]


def run(toy: Toy, **options: Any) -> Any:
    return pipeline(str(toy.root), **options, return_state=True)


def flow_run_id(state: Any) -> UUID:
    found: UUID = state.state_details.flow_run_id
    return found


def task_runs(state: Any, count: int) -> dict[str, TaskRun]:
    """The tasks of a run, once ``count`` of them have ended: the server hears of it by events, which lag behind."""

    def settled() -> bool:
        found = task_runs_now(state).values()
        return len(found) >= count and all(item.state is not None and item.state.is_final() for item in found)

    with suppress(AssertionError):  # what is there then, the test says
        until(settled)
    return task_runs_now(state)


def task_runs_now(state: Any) -> dict[str, TaskRun]:
    chosen = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id(state)]))
    with get_client(sync_client=True) as client:
        found = client.read_task_runs(flow_run_filter=chosen)
    return {item.name: item for item in found}


def state_names(state: Any) -> dict[str, str]:
    return {name: item.state.name for name, item in task_runs(state, 3).items() if item.state is not None}


def artifacts(state: Any, toy: Toy) -> dict[str, Any]:
    """Data by key, without the project that every key begins with."""
    project = f"{project_id(Workspace(toy.root))}-"
    chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id(state)]))
    with get_client(sync_client=True) as client:
        found = {str(item.key): item.data for item in client.read_artifacts(artifact_filter=chosen)}
    assert all(key.startswith(project) for key in found)
    return {key.removeprefix(project): data for key, data in found.items()}


def test_a_task_per_stage_and_unchanged_ones_say_so(any_toy: Toy) -> None:
    first = run(any_toy)
    assert first.is_completed()
    assert state_names(first) == {"ingest": "Completed", "select": "Completed", "evaluate": "Completed"}
    second = run(any_toy)
    assert state_names(second) == {"ingest": "Unchanged", "select": "Unchanged", "evaluate": "Unchanged"}
    assert all(item.state is not None and item.state.is_completed() for item in task_runs(second, 3).values())
    assert second.message == "0 of 3 stages had something to do"


def test_tables_and_the_report_are_shown_on_prefects_page(toy: Toy) -> None:
    shown = artifacts(run(toy), toy)
    assert json.loads(shown["leaderboard"]) == [
        {"candidate": "resnet18", "accuracy": "0.9"},
        {"candidate": "mobilenet", "accuracy": "0.8"},
    ]
    figures = {row["figure"]: row["value"] for row in json.loads(shown["metrics"])}
    assert figures["accuracy"] == 0.912
    assert figures["accuracy_ci95"] == "0.9, 0.925"
    assert figures["transfer.verdict"] == "helps"
    # A path of this machine is no link for a colleague.
    report = (toy.root / "reports/evaluation/report.html").resolve()
    assert shown["report"].startswith(f"The whole report: `{report}` on {socket.gethostname()}\n")
    assert "report-link" not in shown
    # The card stands under the summary, and doubted labels in a table.
    assert shown["report"].index("accuracy  0.912") < shown["report"].index("# The card")
    assert json.loads(shown["suspects"]) == [{"path": "a/1.png", "label": "a", "suggested": "b"}]


def test_the_report_is_linked_where_others_can_read_it(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_REPORTS_URL", "https://files.example/vision/")
    shown = artifacts(run(toy), toy)
    address = "https://files.example/vision/evaluation/report.html"
    assert f"({address})" in shown["report"] and address in shown["report-link"]


def test_of_a_wide_leaderboard_few_columns_are_shown_and_the_reason_second(toy: Toy) -> None:
    wide = "rank,name,score,score_se,kind,arch,weights,size,depth,params_m,gmacs,latency_ms,why"
    row = "1,resnet18,0.9,0.01,candidate,resnet18,source,32,4,11.2,1.8,3.1,chosen: the best"
    toy.root.joinpath("select.sh").write_text(
        f"mkdir -p reports/selection; printf '{wide}\\n{row}\\n' > reports/selection/leaderboard.csv\n"
    )
    (shown,) = json.loads(artifacts(run(toy), toy)["leaderboard"])
    assert list(shown) == ["name", "why", "score", "score_se", "depth", "size", "params_m", "latency_ms"]
    assert shown["why"] == "chosen: the best"


def test_a_run_is_named_by_its_cause(toy: Toy) -> None:
    for options, name in (({}, "train: by hand"), ({"cause": "997 new images"}, "train: 997 new images")):
        state = run(toy, **options)
        with get_client(sync_client=True) as client:
            known = client.read_flow_run(flow_run_id(state))
        assert known.name == name
        assert known.state is not None and known.state.message == state.message, "the page says what the run said"


def test_only_what_was_brought_up_to_date_is_shown(toy: Toy) -> None:
    run(toy)
    assert set(artifacts(run(toy, targets=("select",)), toy)) == {"leaderboard"}


def test_a_failed_stage_fails_its_task_and_the_flow_with_its_own_message(toy: Toy) -> None:
    toy.say("bad")
    state = run(toy)
    assert state.is_failed()
    message = "stage 'ingest' failed: the file holds a bad word\n  where: in.txt\n  remedy: take a better word"
    assert state.message == message
    failed = task_runs(state, 1)
    assert set(failed) == {"ingest"}
    assert failed["ingest"].state is not None
    assert failed["ingest"].state.is_failed()
    assert failed["ingest"].state.message == message


def test_debug_shows_the_traceback(
    toy: Toy, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFT_DEBUG", "1")
    toy.say("bad")
    assert main(["--root", str(toy.root)]) == 1
    assert "Traceback" in capfd.readouterr().err


def test_the_command_line_shows_what_stages_print_and_the_result(toy: Toy, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(toy.root)]) == 0
    shown = capfd.readouterr()
    assert "[ingest] reading in.txt\n" in shown.out
    assert "accuracy  0.912 (95% interval 0.900 to 0.925) on 100 test images" in shown.out
    assert "make serve" in shown.out
    assert shown.err == ""
    assert main(["--root", str(toy.root)]) == 0
    assert "[ingest] unchanged\n[select] unchanged\n" in capfd.readouterr().out


def test_a_fault_of_the_flow_itself_is_one_message(
    toy: Toy, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(module.ArtifactPublisher, "publish", broken)
    assert main(["--root", str(toy.root)]) == 1
    assert "error: unexpected ZeroDivisionError: a fault" in capfd.readouterr().err


def test_stages_that_touch_the_network_are_tried_again(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_DELAYS", [0.1])
    toy.say("bad")
    state = run(toy, retries=1)
    assert state.is_failed()
    assert task_runs(state, 1)["ingest"].run_count == 2
    monkeypatch.setattr(module, "TOUCH_NETWORK", frozenset())
    assert task_runs(run(toy, retries=1), 1)["ingest"].run_count == 1


def test_what_stages_print_is_in_prefects_logs(toy: Toy) -> None:
    state = run(toy)
    chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[flow_run_id(state)]))
    with get_client(sync_client=True) as client:
        # They are sent every two seconds.
        until(lambda: "reading in.txt" in [item.message for item in client.read_logs(log_filter=chosen)])


def test_a_run_waits_for_another_and_says_so(toy: Toy, capfd: pytest.CaptureFixture[str]) -> None:
    with locked_by_another(Workspace(toy.root)) as other:
        threading.Timer(5, other.kill).start()
        assert main(["--root", str(toy.root)]) == 0
    assert "[flow] waiting: another run is at work here" in capfd.readouterr().out


def test_a_time_limit_is_a_stage_and_seconds(toy: Toy, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(toy.root), "--timeout", "ingest"]) == 1
    assert "error: ingest is no time limit\n  where: --timeout\n  remedy: write it" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"timeouts": {"ingets": 60.0}},
            "there is no stage 'ingets'\n  where: dvc.yaml\n  remedy: did you mean 'ingest'?",
        ),
        ({"timeouts": {"ingest": -1.0}}, "the time limit of 'ingest' is -1 s\n  remedy: give it more than 0 s"),
        ({"retries": -1}, "a stage cannot be tried -1 times again\n  remedy: give 0 retries or more"),
    ],
)
def test_limits_and_tries_that_no_stage_can_keep_are_refused(toy: Toy, asked: dict[str, Any], message: str) -> None:
    state = run(toy, **asked)
    assert (state.is_failed(), state.message) == (True, message)
    assert not (toy.root / "data.txt").exists(), "no stage has begun"
