"""The line at a stage's end, the time left, and the table after the last stage."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from graft.core.progress import duration, rough_duration
from graft.core.workspace import Workspace
from graft.pipeline.execution.runner import run_stage
from graft.pipeline.execution.stage_progress import end_message, seconds_left
from graft.pipeline.execution.timing import StageTiming, record_timing

ROOT = Path(__file__).parents[3]
ENDED = "2026-01-31T12:00:00+00:00"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A pipeline of three stages; their order is not the alphabet's."""
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  split: {outs: [s]}\n  select: {outs: [c]}\n  evaluate: {outs: [e]}\n"
    )
    return Workspace(tmp_path)


def record(workspace: Workspace, **seconds: float) -> None:
    for stage, value in seconds.items():
        record_timing(workspace, stage, StageTiming(value, 1234.5, ENDED, False))


def test_the_line_says_what_it_took_and_what_is_left(workspace: Workspace) -> None:
    record(workspace, split=2.41)
    assert end_message(workspace, "split") == "split: done in 2.4 s"  # what comes after never ran
    record(workspace, select=41.2)
    assert end_message(workspace, "split") == "split: done in 2.4 s"  # and one of them did not
    record(workspace, evaluate=83)
    assert end_message(workspace, "split") == "split: done in 2.4 s, about 2 min left"
    assert end_message(workspace, "select") == "select: done in 41 s, about 80 s left"
    record_timing(workspace, "evaluate", StageTiming(900, 1.0, ENDED, True))
    assert end_message(workspace, "select") == "select: done in 41 s"


def test_the_last_stage_shows_what_each_took(workspace: Workspace) -> None:
    record(workspace, split=2.41, evaluate=83, other=7)
    record_timing(workspace, "select", StageTiming(1041.2, 80, "yesterday", True))
    line, title, *rows, total = end_message(workspace, "evaluate").splitlines()
    assert (line, title) == ("evaluate: done in 83 s", "what each stage took, and when:")
    at = r"2026-0[12]-\d\d \d\d:\d\d"
    wanted = [
        r"split +2\.4 s +1,234 MB +" + at,
        r"select +1,041\.2 s +80 MB +yesterday, failed",
        r"evaluate +83\.0 s .*",
    ]
    assert all(re.fullmatch(f"  {want}", row) for want, row in zip(wanted, rows, strict=True)), rows
    assert re.fullmatch(r"  together +1,126\.6 s", total)


def test_a_stage_says_it_last(workspace_with: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    workspace_with()
    assert run_stage("split", lambda params, workspace: print("split: 3 images")) == 0
    assert re.fullmatch(r"split: 3 images\nsplit: done in \d+\.\d s\n", capsys.readouterr().out)

    def fail(*_: object) -> None:
        raise RuntimeError("boom")

    assert run_stage("split", fail) == 1
    assert capsys.readouterr().out == ""


def test_an_unknown_time_is_not_guessed() -> None:
    assert seconds_left({"a": 1.0, "b": 2.0}, ["a", "b"]) == 3.0
    assert seconds_left({"a": 1.0}, ["a", "b"]) is None


def test_stages_stand_in_dvc_yaml_in_an_order_in_which_they_can_run() -> None:
    """The time left is that of the stages below: so each depends on those above it only."""
    made: set[str] = set()
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    outputs = {
        name: [out if isinstance(out, str) else next(iter(out)) for out in stage.get("outs", ())]
        for name, stage in stages.items()
    }
    of_any = [out for outs in outputs.values() for out in outs]
    for name, stage in stages.items():
        needed = {out for out in of_any for dep in stage["deps"] if Path(dep).is_relative_to(out)}
        assert needed <= made, f"{name} needs {needed - made}"
        made |= set(outputs[name])


@pytest.mark.parametrize(
    ("seconds", "measured", "estimated"),
    [
        (0.04, "0.0 s", "10 s"),
        (9.94, "9.9 s", "10 s"),
        (41.4, "41 s", "40 s"),
        (119.4, "119 s", "2 min"),
        (270, "4 min 30 s", "4 min"),
        (5399, "89 min 59 s", "90 min"),
        (7499, "2 h 4 min", "2.1 h"),
    ],
)
def test_times_in_words(seconds: float, measured: str, estimated: str) -> None:
    assert (duration(seconds), rough_duration(seconds)) == (measured, estimated)
