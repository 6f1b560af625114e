"""dvc.yaml against the code: the same paths, the same settings, the same stages, whoever reads them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from graft.core.config import NO_RESULT, deciding, flatten, load_params
from graft.core.workspace import Workspace
from graft.pipeline.inputs.planned import settings_by_stage

ROOT = Path(__file__).parents[1]
ORDER = [
    "locate",
    "ingest",
    "validate",
    "split",
    "augment",
    "gather",
    "pretrain",
    "plan",
    "select",
    "tune",
    "finetune",
    "score",
    "package",
    "control",
    "evaluate",
]


def _graph() -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    return loaded


def _outs(stage: dict[str, Any]) -> list[str]:
    return [next(iter(out)) if isinstance(out, dict) else out for out in stage["outs"]]


def test_the_stages_are_those_of_the_design() -> None:
    assert list(_graph()["stages"]) == ORDER


@pytest.mark.parametrize("name", ORDER)
def test_every_stage_is_a_module_that_runs_itself(name: str) -> None:
    stage = _graph()["stages"][name]
    assert stage["cmd"] == f"exec ${{python}} -m graft.pipeline.{name}"
    module = importlib.import_module(f"graft.pipeline.{name}")
    assert callable(module.run)
    # Which protects the user's files in the stage's outputs, those of this name in dvc.yaml.
    assert f'raise SystemExit(run_stage("{name}", run' in Path(str(module.__file__)).read_text(encoding="utf-8")
    assert f"src/graft/pipeline/{name}.py" in stage["deps"]


@pytest.mark.parametrize("name", ORDER)
def test_dependencies_exist_or_are_made_by_a_stage_before(name: str) -> None:
    stages = _graph()["stages"]
    before = [path for other in ORDER[: ORDER.index(name)] for path in _outs(stages[other])]
    # Made by locate, and never an output.
    links = [f"data/.links/{key}.source{end}" for key in ("data", "pretrain") for end in ("", ".table")]
    links.append("data/.links/weights")
    for path in stages[name]["deps"]:
        made = any(path == out or path.startswith(f"{out}/") for out in before)
        assert made or path in links or (ROOT / path).exists(), path


@pytest.mark.parametrize("name", ORDER)
def test_settings_that_a_stage_depends_on_exist(name: str) -> None:
    known = set(flatten(load_params(ROOT / "params.yaml")))
    for key in _graph()["stages"][name]["params"]:
        assert any(item == key or item.startswith(f"{key}.") for item in known), key


def test_every_setting_that_decides_a_result_makes_some_stage_out_of_date_and_no_other_does() -> None:
    used = {key for stage in _graph()["stages"].values() for key in stage["params"]}
    unused = {
        item
        for item in flatten(load_params(ROOT / "params.yaml"))
        if not any(item == key or item.startswith(f"{key}.") for key in used)
    }
    assert unused == NO_RESULT
    assert deciding(load_params(ROOT / "params.yaml")).keys() & NO_RESULT == set()


def test_outputs_are_the_paths_of_the_contract() -> None:
    made = {path for stage in _graph()["stages"].values() for path in _outs(stage)}
    workspace = Workspace()
    contract = [
        workspace.raw,
        workspace.ingested,
        workspace.manifest,
        workspace.validated,
        workspace.splits,
        workspace.split_history,
        workspace.gathered,
        workspace.validation,
        workspace.augmentation,
        workspace.pretraining,
        workspace.source_models,
        workspace.plan,
        workspace.selection,
        workspace.training,
        workspace.finetuned,
        workspace.label_curve,
        workspace.controls,
        workspace.scores,
        workspace.control,
        workspace.evaluation,
        workspace.packaged,
    ]
    assert {str(path) for path in contract} <= made


def test_every_output_persists_so_that_dvc_deletes_nothing() -> None:
    for name, stage in _graph()["stages"].items():
        for out in stage["outs"]:
            assert isinstance(out, dict), f"{name}: {out} would be deleted before the stage runs"
            assert all(options.get("persist") is True for options in out.values()), f"{name}: {out}"


def test_a_refused_model_does_not_cost_the_one_in_use() -> None:
    outs = _graph()["stages"]["package"]["outs"]
    assert outs == [{"models/packaged": {"persist": True}}, {"reports/gate": {"persist": True}}]


def test_what_data_is_compared_with_outlives_the_run_and_nothing_comes_after_itself() -> None:
    validate = _graph()["stages"]["validate"]
    assert {"data/validated.json": {"persist": True}} in validate["outs"]
    assert not {"data/validated.json", "models/packaged"} & set(validate["deps"])


def test_what_was_tested_is_remembered_beyond_the_run() -> None:
    split = _graph()["stages"]["split"]
    assert {"data/split_history.json": {"persist": True}} in split["outs"]


def test_what_was_planned_reaches_a_stage_by_its_own_file_and_by_no_setting() -> None:
    """Else a key that does not concern it would run it again: see tests/pipeline/inputs/test_planned.py."""
    stages = _graph()["stages"]
    files = settings_by_stage(load_params(ROOT / "params.yaml"))
    for name, stage in stages.items():
        told = [path for path in stage["deps"] if path.startswith("reports/plan/")]
        expected = {f"reports/plan/{name}.json"} if name in files else set()
        assert set(told) - {"reports/plan/plan.json"} == expected, name
        assert name == "plan" or not [key for key in stage["params"] if key.split(".")[0] in {"train", "tune"}], name
    split_by = [name for name in ORDER if any(key.split(".")[0] == "select" for key in stages[name]["params"])]
    assert split_by == ["split", "plan", "evaluate"] and stages["evaluate"]["params"].count("select.folds") == 1


def test_the_model_is_packaged_before_the_control_is_trained_and_waits_for_nothing_of_it() -> None:
    stages = _graph()["stages"]
    made = {path: name for name, stage in stages.items() for path in _outs(stage)}

    def needed(name: str) -> set[str]:
        own = {made[out] for path in stages[name]["deps"] for out in made if path == out or path.startswith(f"{out}/")}
        return own.union(*map(needed, own))

    assert not {"control", "evaluate"} & needed("package")
    assert "score" in needed("package") and {"score", "control"} <= needed("evaluate")
    assert not {"tune", "finetune", "score", "package"} & needed("control"), "so it can be trained beside them"


def test_the_test_images_are_opened_by_two_stages_and_chosen_by_in_none() -> None:
    """What selects or trains has no dependency that holds an answer to them."""
    stages = _graph()["stages"]
    for name in ("select", "tune", "finetune", "control"):
        held = [path for path in stages[name]["deps"] if path.startswith(("reports/scores", "reports/evaluation"))]
        assert held == [], name
