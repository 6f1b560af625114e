"""What each planned stage is told: all that concerns it, and no more, so that no other key runs it again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graft.core.config import parse_params
from graft.core.errors import ConfigError, DataError
from graft.core.settings import Params, Select, Train, Tune
from graft.core.workspace import Workspace
from graft.pipeline.inputs.planned import CONTROL_KEYS, SECTIONS, deadline_of, settings_by_stage, with_plan

PARAMS = parse_params({"zoo": {"candidates": ["resnet18"]}}, "p")
# What is trained by in both.
SHARED = {"train.batch_size", "train.imbalance", "train.label_counts"}
OTHER: dict[str, Any] = {
    "rule": "cheap", "probe": "logistic", "strategy": "wise_ft", "imbalance": "loss", "label_counts": (3,),
    "search": ("epochs",), "control": False, "control_size": 48,
}  # fmt: skip


def keys() -> Iterator[tuple[str, str]]:
    for section, kind in zip(SECTIONS, (Select, Train, Tune), strict=True):
        for field in dataclasses.fields(kind):
            yield section, field.name


KEYS = list(keys())
IDS = [".".join(key) for key in KEYS]


def changed(section: str, name: str) -> Params:
    """The settings with another value of a key."""
    old = getattr(PARAMS, section)
    value = getattr(old, name)
    new = OTHER[name] if name in OTHER else (0.5 if value != 0.5 else 0.25) if isinstance(value, float) else 4
    assert new != value
    return dataclasses.replace(PARAMS, **{section: dataclasses.replace(old, **{name: new})})


def stages_that_hear_of(section: str, name: str) -> set[str]:
    before, after = settings_by_stage(PARAMS), settings_by_stage(changed(section, name))
    return {stage for stage in before if before[stage] != after[stage]}


@pytest.mark.parametrize(("section", "name"), KEYS, ids=IDS)
def test_every_key_goes_to_some_stage_and_to_the_report(section: str, name: str) -> None:
    heard = stages_that_hear_of(section, name)
    assert "evaluate" in heard and (len(heard) > 1 or (section, name) == ("select", "folds"))


@pytest.mark.parametrize("name", CONTROL_KEYS)
def test_a_key_of_the_control_trains_only_the_control_anew(name: str) -> None:
    assert stages_that_hear_of("train", name) == {"control", "evaluate"}


@pytest.mark.parametrize(("section", "name"), KEYS, ids=IDS)
def test_no_other_key_trains_the_control_anew(section: str, name: str) -> None:
    key = f"{section}.{name}"
    own = name in CONTROL_KEYS or key in SHARED or key == "select.finetune_folds"
    assert ("control" in stages_that_hear_of(section, name)) is own


def test_who_hears_of_what() -> None:
    assert stages_that_hear_of("train", "learning_rate") == {"select", "tune", "finetune", "evaluate"}
    assert stages_that_hear_of("train", "label_counts") == {"finetune", "control", "evaluate"}
    assert stages_that_hear_of("select", "finalists") == {"select", "evaluate"}
    assert stages_that_hear_of("select", "finetune_folds") == {"select", "control", "evaluate"}
    assert stages_that_hear_of("select", "folds") == {"evaluate"}, "the images are divided by it, and that is heard of"
    assert stages_that_hear_of("tune", "trials") == {"tune", "evaluate"}


def lay(workspace: Workspace, stage: str, text: str) -> None:
    workspace.plan.mkdir(parents=True, exist_ok=True)
    (workspace.plan / f"{stage}.json").write_text(text, encoding="utf-8")


def test_without_a_plan_the_settings_stay(tmp_path: Path) -> None:
    assert with_plan(PARAMS, Workspace(tmp_path), "select") is PARAMS
    lay(Workspace(tmp_path), "tune", json.dumps({"settings": {}}))
    assert with_plan(PARAMS, Workspace(tmp_path), "select") is PARAMS, "another stage's plan"


@pytest.mark.parametrize("stage", list(settings_by_stage(PARAMS)))
def test_a_stage_is_told_what_was_planned_and_keeps_the_rest(tmp_path: Path, stage: str) -> None:
    """Read back as it was laid down, tuples included."""
    workspace = Workspace(tmp_path)
    planned = PARAMS
    for section, name in KEYS:
        if (section, name) != ("select", "folds"):
            other = getattr(getattr(changed(section, name), section), name)
            old = getattr(planned, section)
            planned = dataclasses.replace(planned, **{section: dataclasses.replace(old, **{name: other})})
    told = settings_by_stage(planned)[stage]
    lay(workspace, stage, json.dumps({"settings": told}))
    found = with_plan(PARAMS, workspace, stage)
    for section, name in KEYS:
        source = planned if name in told.get(section, {}) else PARAMS
        assert getattr(getattr(found, section), name) == getattr(getattr(source, section), name), (section, name)
    assert settings_by_stage(found)[stage] == told
    assert dataclasses.replace(found, select=PARAMS.select, train=PARAMS.train, tune=PARAMS.tune) == PARAMS


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]", "3", "{}", '{"settings": []}', '{"settings": null}', '{"settings": {"train": 3}}', "\ufffd"],
)
def test_a_damaged_plan_is_named_with_a_way_out(tmp_path: Path, text: str) -> None:
    lay(Workspace(tmp_path), "select", text)
    with pytest.raises(DataError) as refused:
        with_plan(PARAMS, Workspace(tmp_path), "select")
    assert (refused.value.what, refused.value.remedy) == (
        "the plan is missing or damaged", "run `.venv/bin/dvc repro`",
    )  # fmt: skip
    assert refused.value.where == str(tmp_path / "reports/plan/select.json")


def test_a_value_that_cannot_be_used_is_named_with_its_key(tmp_path: Path) -> None:
    lay(Workspace(tmp_path), "select", '{"settings": {"select": {"finalists": 0}}}')
    with pytest.raises(ConfigError, match=r"the key 'select.finalists' cannot be 0"):
        with_plan(PARAMS, Workspace(tmp_path), "select")


def test_the_time_of_a_stage_begins_with_it(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert deadline_of(PARAMS, workspace, "control") is None
    lay(workspace, "control", '{"settings": {}, "budget_s": null}')
    assert deadline_of(PARAMS, workspace, "control") is None
    lay(workspace, "control", '{"settings": {}, "budget_s": 3600}')
    found = deadline_of(PARAMS, workspace, "control")
    assert found is not None and not found.has_passed
    lay(workspace, "control", '{"settings": {}, "budget_s": 0}')
    found = deadline_of(PARAMS, workspace, "control")
    assert found is not None and found.has_passed
    elsewhere = dataclasses.replace(PARAMS, compute=dataclasses.replace(PARAMS.compute, address="tcp://a:1"))
    assert deadline_of(elsewhere, workspace, "control") is None, "its machines have clocks of their own"
