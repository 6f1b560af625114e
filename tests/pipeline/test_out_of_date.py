"""The shipped dvc.yaml and DVC's own `status`: what decides no result puts no stage out of date, and what does does."""

from __future__ import annotations

import pytest

from flows.graph import stages_in_order
from graft.core.settings.presets import DEFAULT, ROWS
from tests.pipeline.stand_ins import Project

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("up to date") / "project")
    ran, code = made.repro()
    assert code == 0 and len(ran) == 15
    assert made.out_of_date() == set()
    return made


def test_how_the_work_is_done_puts_nothing_out_of_date(project: Project) -> None:
    kept = dict(project.values["compute"])
    project.set("compute", mapper="dask", workers=7, address="tcp://127.0.0.1:8786", cache_gb=1.0)
    assert project.out_of_date() == set()
    project.set("compute", **kept)


def test_what_can_change_a_bit_does(project: Project) -> None:
    kept = project.values["compute"]["device"]
    project.set("compute", device="cuda")
    assert project.out_of_date() == {"pretrain", "select", "tune", "finetune", "score", "control", "evaluate"}
    project.set("compute", device=kept)
    assert project.out_of_date() == set()


@pytest.mark.parametrize(
    "name", ["data/doctor/console", "data/doctor/doctor", "data/doctor/audit", "data/doctor/cleaned_copy"]
)
def test_a_module_that_only_says_what_is_wrong_puts_nothing_out_of_date(project: Project, name: str) -> None:
    file = project.root / "src" / "graft" / f"{name}.py"
    file.write_text(file.read_text() + "# another message\n")
    assert project.out_of_date() == set()


def test_a_module_that_decides_pixels_does(project: Project) -> None:
    file = project.root / "src" / "graft" / "modalities" / "image" / "decode.py"
    before = file.read_text()
    file.write_text(before + "# another decoder\n")
    assert {"validate", "select", "finetune", "score", "package", "control", "evaluate"} <= project.out_of_date()
    file.write_text(before)


@pytest.mark.parametrize(
    ("section", "key", "value", "concerned"),
    [
        ("train", "control_steps", 77, {"control", "evaluate"}),
        ("train", "control_seeds", 1, {"control", "evaluate"}),
        ("train", "control", False, {"control", "evaluate"}),
        ("train", "learning_rate", 0.02, {"select", "tune", "finetune", "evaluate"}),
        ("train", "unfreeze", 0.9, {"select", "tune", "finetune", "evaluate"}),
        ("train", "label_counts", [3], {"finetune", "control", "evaluate"}),
        ("select", "finalists", 5, {"select", "evaluate"}),
        ("select", "finetune_folds", 3, {"select", "control", "evaluate"}),
        ("tune", "trials", 3, {"tune", "evaluate"}),
    ],
)
def test_a_setting_runs_the_stages_again_that_it_concerns(
    project: Project, section: str, key: str, value: object, concerned: set[str]
) -> None:
    """The stand-ins write what they wrote before, so what only comes after those stages does not run."""
    kept = dict(project.values[section])
    project.set(section, **{key: value})
    assert project.out_of_date() == {"plan"}
    ran, code = project.repro()
    assert (ran, code) == ({"plan", *concerned}, 0)
    project.values[section].clear()
    project.set(section, **kept)
    assert project.repro() == (ran, 0) and project.out_of_date() == set()


def test_another_preset_runs_again_what_its_rows_concern_and_the_same_values_nothing(project: Project) -> None:
    """The keys of the default preset, set by hand, change no file of the plan."""
    rows = [row for row in ROWS if row.key.startswith("train.")]
    kept = dict(project.values["train"])
    project.set("train", **{row.key.removeprefix("train."): row.value(DEFAULT) for row in rows})
    assert project.repro() == ({"plan"}, 0)
    project.values["train"].clear()
    project.set("train", **kept)
    project.values["preset"] = "quick"
    project.write()
    ran, code = project.repro()
    assert code == 0 and {"augment", "plan", "select", "tune", "finetune", "control", "evaluate"} == ran
    project.values["preset"] = DEFAULT
    project.write()
    assert project.repro()[1] == 0 and project.out_of_date() == set()


def test_the_model_is_packaged_first_then_comes_the_control_and_the_proof_last(project: Project) -> None:
    """By the order in which both `dvc repro` and the flow run them."""
    stages = stages_in_order(project.root)
    names = [stage.name for stage in stages]
    assert names.index("score") < names.index("package") < names.index("control") < names.index("evaluate")
    assert names[-1] == "evaluate" and len(names) == 15
