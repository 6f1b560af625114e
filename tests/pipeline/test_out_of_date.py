"""The shipped dvc.yaml and DVC's own `status`: what decides no result puts no stage out of date, and what does does."""

from __future__ import annotations

import pytest

from tests.pipeline.stand_ins import Project

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("up to date") / "project")
    ran, code = made.repro()
    assert code == 0 and len(ran) == 12
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
    assert project.out_of_date() == {"pretrain", "select", "tune", "finetune", "evaluate"}
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
    assert {"validate", "select", "finetune", "evaluate", "package"} <= project.out_of_date()
    file.write_text(before)
