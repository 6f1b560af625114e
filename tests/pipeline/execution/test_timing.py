"""reports/timing.json: a row for each stage's last run, merged whole, whatever becomes of the stage."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from graft.core.memory import peak_bytes
from graft.core.settings import Params
from graft.core.workspace import Workspace
from graft.pipeline.execution.runner import run_stage
from graft.pipeline.execution.timing import StageTiming, expected_seconds, read_timings, record_timing

ROW = StageTiming(1.5, 80.0, "2026-01-31T12:00:00+00:00", False)
# Writes rows of its own as fast as it can.
WRITER = (
    "import sys; from graft.core.workspace import Workspace\n"
    "from graft.pipeline.execution.timing import StageTiming, record_timing\n"
    "for turn in range(30):\n"
    "    record_timing(Workspace(), f'{sys.argv[1]}-{turn}', StageTiming(turn, 1.0, '', False))"
)


@pytest.fixture
def workspace(workspace_with: Callable[..., Path]) -> Workspace:
    return Workspace(workspace_with())


def sleep(params: Params, workspace: Workspace) -> None:
    time.sleep(0.2)


def fail(params: Params, workspace: Workspace) -> None:
    time.sleep(0.1)
    raise RuntimeError("boom")


def interrupt(params: Params, workspace: Workspace) -> None:
    raise KeyboardInterrupt


def test_a_stage_leaves_what_it_took(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1_800_000_000, 0, -3600))  # set back by an hour each time it is read
    monkeypatch.setattr(time, "time", lambda: float(next(clock)))
    assert run_stage("split", sleep) == 0
    row = json.loads(workspace.timing.read_text())["stages"]["split"]
    assert list(row) == ["seconds", "peak_memory_mb", "ended", "failed"]
    assert 0.2 <= row["seconds"] < 20 and row["failed"] is False
    assert row["peak_memory_mb"] >= 30  # Python with NumPy
    assert timedelta() <= datetime.now(UTC) - datetime.fromisoformat(row["ended"]) < timedelta(minutes=5)


@pytest.mark.parametrize("work", [fail, interrupt])
def test_a_stage_that_fails_is_marked(workspace: Workspace, work: Callable[[Params, Workspace], None]) -> None:
    assert run_stage("split", sleep) == 0
    assert run_stage("split", work) != 0
    assert read_timings(workspace)["split"].failed
    assert "split" not in expected_seconds(workspace)  # its time says nothing of the next
    assert run_stage("split", sleep) == 0
    assert expected_seconds(workspace)["split"] >= 0.2


def test_memory_is_that_of_the_largest_process(workspace: Workspace) -> None:
    def take(params: Params, workspace: Workspace) -> None:
        subprocess.run([sys.executable, "-c", f"b'x' * {peak_bytes() + 300_000_000}"], check=True)

    before = peak_bytes() / 1e6
    assert run_stage("split", take) == 0
    assert before + 300 < read_timings(workspace)["split"].peak_memory_mb < before + 900


def test_rows_of_other_stages_and_what_else_the_file_says_stay(workspace: Workspace) -> None:
    workspace.timing.parent.mkdir()
    workspace.timing.write_text(json.dumps({"plan": {"select": 40}, "stages": {"old": {"seconds": "?"}}}))
    record_timing(workspace, "select", ROW)
    content = json.loads(workspace.timing.read_text())
    assert content["plan"] == {"select": 40} and set(content["stages"]) == {"old", "select"}
    assert read_timings(workspace) == {"select": ROW}


@pytest.mark.parametrize("damaged", ["", '{"stages": {"a', "[]", "3", '{"stages": 3}', '{"stages": null}', "\x00\xff"])
def test_a_damaged_file_is_begun_anew(workspace: Workspace, damaged: str) -> None:
    workspace.timing.parent.mkdir()
    workspace.timing.write_text(damaged, encoding="latin-1")
    assert expected_seconds(workspace) == {}
    record_timing(workspace, "select", ROW)
    assert read_timings(workspace) == {"select": ROW}


def test_stages_that_end_at_the_same_time_lose_no_row(workspace: Workspace) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(number)]) for number in range(3)]
    seen = 0
    while any(writer.poll() is None for writer in writers):  # whoever reads meanwhile never sees half a file
        if workspace.timing.exists():
            seen = max(seen, len(json.loads(workspace.timing.read_text())["stages"]))
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert seen > 1 and len(read_timings(workspace)) == 90


def test_no_stage_fails_for_want_of_a_place_to_write_it(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.root.joinpath("reports").write_text("a file, where the folder should be")
    assert run_stage("split", sleep) == 0
    said = capsys.readouterr()
    assert said.err.startswith("split: what it took is not recorded in reports/timing.json: ")
    assert said.out == "split: done\n"
    assert said.out == "split: done\n"
