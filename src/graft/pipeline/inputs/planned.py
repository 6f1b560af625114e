"""The settings as the stage `plan` laid them down: those of params.yaml under the preset and the time limit."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from graft.core.config import parse_params
from graft.core.deadline import Deadline
from graft.core.errors import DataError
from graft.core.settings import Params
from graft.core.workspace import Workspace

# The whole plan, in reports/plan beside the files of the stages.
PLAN_FILE = "plan.json"
# The sections of params.yaml that are planned.
SECTIONS = ("select", "train", "tune")
# Keys of `train` that only the stage `control` asks for.
CONTROL_KEYS = ("control", "control_size", "control_steps", "control_seeds")
# Keys of `train` that say which trainings there are beside the model's.
_LABEL_COUNTS = "label_counts"
# What the control is trained with; by the others the model is fine-tuned.
_CONTROLS_OWN = (*CONTROL_KEYS, _LABEL_COUNTS, "batch_size", "imbalance")


def settings_by_stage(params: Params) -> dict[str, dict[str, dict[str, Any]]]:
    """For each stage that is planned the sections it reads, with the keys that concern it and no others.

    A stage depends on its own file alone, so that a key that does not concern it does not run it again.
    """
    select, train, tune = (dataclasses.asdict(getattr(params, name)) for name in SECTIONS)
    trained = _without(train, *CONTROL_KEYS)
    return {
        "select": {"select": _without(select, "folds"), "train": _without(trained, _LABEL_COUNTS)},
        "tune": {"train": _without(trained, _LABEL_COUNTS), "tune": tune},
        "finetune": {"train": trained},
        "control": {
            "select": {"finetune_folds": select["finetune_folds"]},
            "train": {name: train[name] for name in _CONTROLS_OWN},
        },
        "evaluate": {"select": select, "train": train, "tune": tune},
    }


def with_plan(params: Params, workspace: Workspace, stage: str) -> Params:
    """The settings with what was planned for a stage; as they are where nothing was planned.

    Raises:
        DataError: the plan is damaged.
    """
    path = workspace.plan / f"{stage}.json"
    if not path.exists():
        return params
    try:
        planned: Mapping[str, Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["settings"]
        values = {name: _completed(params, name, planned) for name in SECTIONS}
        # Through the same checks as params.yaml, which also make tuples of lists.
        found = parse_params(values, path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError("the plan is missing or damaged", where=path, remedy="run `.venv/bin/dvc repro`") from None
    return dataclasses.replace(params, select=found.select, train=found.train, tune=found.tune)


def deadline_of(params: Params, workspace: Workspace, stage: str) -> Deadline | None:
    """When a stage that begins now has used up its share of the time limit; None without a limit.

    On a cluster of several machines there is none, for each of them has a clock of its own.
    """
    path = workspace.plan / f"{stage}.json"
    if params.compute.address is not None or not path.exists():
        return None
    budget = json.loads(path.read_text(encoding="utf-8")).get("budget_s")
    return None if budget is None else Deadline.after(budget)


def _completed(params: Params, section: str, planned: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {**dataclasses.asdict(getattr(params, section)), **planned.get(section, {})}


def _without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}
