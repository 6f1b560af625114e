"""A time limit that passes in mid-stage: the best so far is delivered, and said; and the stage `plan` itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from graft.core.config import load_params
from graft.core.workspace import Workspace
from graft.inference.artifact import load_artifact
from graft.pipeline import control, finetune, plan, select
from graft.pipeline.execution.runner import run_stage
from graft.planning.rates import Rates

SLOW = Rates(forward=0.01, frozen=0.005, finetune=0.1, scratch=0.2, augment=0.01)
CANDIDATES = {"candidates": [{"arch": "shufflenet_v2_x0_5", "weights": "source", "size": 32}]}


@pytest.fixture
def out_of_time(project: Callable[..., Workspace]) -> Callable[..., Workspace]:
    """A workspace whose stages have no second left of a limit."""

    def make(trained: dict[str, Any] | None = None, **train: object) -> Workspace:
        workspace = project(trained, **train)
        workspace.plan.mkdir(parents=True, exist_ok=True)
        for stage in ("select", "finetune", "control"):
            (workspace.plan / f"{stage}.json").write_text(json.dumps({"settings": {}, "budget_s": 0}))
        return workspace

    return make


def test_selection_scores_the_head_alone_and_says_why(
    out_of_time: Callable[..., Workspace], capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = out_of_time()
    (workspace.augmentation).mkdir(parents=True, exist_ok=True)
    assert run_stage("select", select.run) == 0
    winner = json.loads((workspace.selection / "winner.json").read_text())
    assert list(winner["trained"]) == ["extract"]
    assert set(pd.read_parquet(workspace.selection / "out_of_fold.parquet")["strategy"]) == {"extract"}


def test_fine_tuning_delivers_the_head_alone_and_says_so(
    out_of_time: Callable[..., Workspace], capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = out_of_time({"extract": [0.5] * 3, "finetune": [0.9] * 3}, label_counts=[])
    assert run_stage("finetune", finetune.run) == 0
    said = capfd.readouterr().out
    assert "the time limit passed while training: fine-tuning: the head alone is delivered" in said
    chosen = json.loads((workspace.training / "strategy.json").read_text())
    assert (chosen["strategy"], chosen["chosen_by"]) == ("extract", "time_limit")
    assert load_artifact(workspace.finetuned)[0].provenance["strategy"] == "extract"


def test_a_control_without_time_is_left_out(
    out_of_time: Callable[..., Workspace], capfd: pytest.CaptureFixture[str]
) -> None:
    workspace = out_of_time()
    assert run_stage("control", control.run) == 0
    assert json.loads((workspace.controls / "controls.json").read_text()) == {"trained": [], "out_of_time": True}
    assert "what is done so far is compared, and nothing else" in capfd.readouterr().out


@pytest.fixture
def planned(
    workspace_with: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Workspace, int]]:
    """Runs the stage `plan` on 100 training images, on a machine whose speed is known."""
    monkeypatch.setattr("graft.planning.rates.rates_of", lambda *given, measure: SLOW)

    def make(**settings: Any) -> tuple[Workspace, int]:
        workspace = Workspace(workspace_with(zoo=CANDIDATES, **settings))
        workspace.splits.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"split": ["train"] * 100 + ["test"] * 50}).to_parquet(workspace.splits)
        return workspace, run_stage("plan", plan.run)

    return make


def test_a_plan_is_the_same_each_time(planned: Callable[..., tuple[Workspace, int]]) -> None:
    workspace, code = planned(time_limit=6)
    assert code == 0
    first = {path.name: path.read_bytes() for path in workspace.plan.iterdir()}
    assert run_stage("plan", plan.run) == 0
    assert {path.name: path.read_bytes() for path in workspace.plan.iterdir()} == first


def test_what_is_left_out_is_said_and_written_down(
    planned: Callable[..., tuple[Workspace, int]], capfd: pytest.CaptureFixture[str]
) -> None:
    workspace, code = planned(preset="best", time_limit=5)
    assert code == 0
    found = json.loads((workspace.plan / "plan.json").read_text())
    assert found["left_out"] and sum(found["expected_s"].values()) < 300
    said = capfd.readouterr().out
    assert "plan: preset best, at most 5 min in all: select " in said
    assert all(f"plan: left out, for there is no time: {says}\n" in said for says in found["left_out"])
    assert json.loads((workspace.plan / "finetune.json").read_text())["budget_s"] > 0


def test_a_limit_that_cannot_be_kept_is_refused(
    planned: Callable[..., tuple[Workspace, int]], capfd: pytest.CaptureFixture[str]
) -> None:
    _, code = planned(time_limit=0.1)
    assert code == 1
    assert "the time limit cannot be kept: the least that can be done takes about" in capfd.readouterr().err


def test_the_settings_of_a_plan_are_those_that_the_stages_read(
    planned: Callable[..., tuple[Workspace, int]],
) -> None:
    from graft.pipeline.inputs.planned import with_plan

    workspace, _ = planned(preset="balanced", time_limit=2.2)
    params = load_params(workspace.params)
    assert params.train.control
    assert not with_plan(params, workspace, "control").train.control
