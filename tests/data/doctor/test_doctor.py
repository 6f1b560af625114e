"""graft doctor: what a user reads, what a program reads, and the exit code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from graft.core.settings import Validation
from graft.data.doctor.audit import AuditSettings
from graft.data.doctor.doctor import DEFAULTS, doctor
from graft.data.sources.listing import SourceSpec
from graft.data.sources.registry import list_source
from graft.modalities.image.modality import ImageModality
from graft.pipeline import ingest


@pytest.fixture(autouse=True)
def in_no_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor takes the settings of the project around the current folder: here there is none."""
    monkeypatch.chdir(tmp_path)


def test_a_clean_folder_would_be_trained_on(
    make_classes: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_classes({"cat": 10, "dog": 15})
    before = sorted(folder.parent.rglob("*"))
    assert doctor(str(folder), False) == 0
    said = capsys.readouterr().out
    assert "25 images of 2 classes, 20 to 24 px (25 PNG)" in said
    assert "Training on this data would go ahead: 20 images to train on, 5 to test on." in said
    assert sorted(folder.parent.rglob("*")) == before


def test_a_second_look_decodes_nothing_and_says_the_same(
    make_classes: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_classes({"cat": 10, "dog": 15})
    doctor(str(folder), True)
    first = capsys.readouterr().out
    monkeypatch.setattr(ImageModality, "decode", None)
    doctor(str(folder), True)
    assert capsys.readouterr().out == first


def test_in_a_workspace_the_doctor_and_the_pipeline_share_the_cache(
    make_classes: Callable[..., Path], workspace_with: Callable[..., Path]
) -> None:
    folder = make_classes({"cat": 10, "dog": 15})
    root = workspace_with()
    assert doctor(str(folder), False) == 0
    assert (root / ".graft/cache/stats.parquet").is_file()


def test_every_problem_is_said_at_once_with_its_file_and_remedy(
    make_classes: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_classes({"cat": 10, "dog": 10, "few": 2})
    (folder / "cat/[bad].jpg").write_text("text")
    (folder / "cat/notes.txt").write_text("text")
    assert doctor(str(folder), False) == 1
    said = capsys.readouterr().out
    for line in (
        "passed over: 1 (not an image by its name), such as cat/notes.txt",
        "critical decodable: expected that every file is an image that can be decoded",
        "    cat/[bad].jpg  this is not an image but text;",
        "critical images_per_class: expected that every class has at least 5 images",
        "class 'few', images: 2",
        "Training on this data would be refused.",
    ):
        assert line in said, said
    assert said.count("remedy: ") == 2


def test_what_is_put_into_quarantine_is_left_out_as_the_pipeline_would(
    make_classes: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_classes({"cat": 10, "dog": 10})
    shutil.copy(folder / "cat/cat_000.png", folder / "dog/same.png")
    limits = Validation(severity={"label_conflict": "quarantine"})
    assert doctor(str(folder), False, AuditSettings(replace(DEFAULTS.params, validation=limits))) == 0
    said = capsys.readouterr().out
    assert "quarantine label_conflict: expected that no image has two labels" in said
    assert "15 images to train on, 4 to test on, 2 left out." in said


def test_json_is_one_object_with_the_same_findings(
    make_classes: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_classes({"cat": 10, "dog": 2})
    assert doctor(str(folder), True) == 1
    values = json.loads(capsys.readouterr().out)
    assert (values["refused"], values["images"], values["classes"]) == (True, 12, {"cat": 10, "dog": 2})
    assert [item["check"] for item in values["findings"] if not item["success"]] == ["images_per_class"]


@pytest.mark.parametrize("as_json", [True, False])
def test_a_missing_folder_is_a_finding(tmp_path: Path, as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(str(tmp_path / "none"), as_json) == 1
    said = capsys.readouterr().out
    assert "the data can be found, but there is no such folder or table" in said


def test_real_photographs_raise_no_false_alarm(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(str(shared_data / "hymenoptera"), False) == 0
    said = capsys.readouterr().out
    assert "398 images of 2 classes" in said
    assert "Training on this data would go ahead: 245 images to train on, 153 to test on." in said
    assert "critical" not in said
    assert "That is how the data comes divided" in said


def test_nothing_heavy_is_imported_for_a_look(make_classes: Callable[..., Path]) -> None:
    """Great Expectations takes three seconds of processor time to import, and torch two."""
    folder = make_classes({"cat": 10, "dog": 10})
    program = (
        "import sys\nfrom graft.cli.main import app\n"
        "try:\n    app()\nexcept SystemExit as end:\n    code = end.code\n"
        "heavy = {'great_expectations', 'torch', 'torchvision', 'timm', 'matplotlib', 'dvc'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)\nsys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "doctor", str(folder)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")


def test_folders_of_species_in_those_of_a_genus_are_noted_and_can_be_the_classes(
    make_classes: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    species = {"quercus/alba": 10, "quercus/robur": 10, "acer/rubrum": 10}
    folder = make_classes(species)
    assert doctor(str(folder), False) == 0
    said = capsys.readouterr().out
    assert (
        "warning nested_folders: expected that no class folder is divided into folders, which are not read as classes; "
        "broken by 1\n    quercus  2 sub-folders, such as alba, robur\n"
        "  remedy: nothing has to be done where they are parts of one class; where each is a class of its own (species "
        "in a genus), set data.label_from to '([^/]+)/[^/]+$'\n"
    ) in said
    found = list_source(SourceSpec(str(folder), Path(), Path("/nonexistent")))
    assert "\n  class 'quercus' is divided into 2 folders, which are no classes: alba, robur\n" in (
        ingest.summary(found, "trees") + "\n"
    )
    data = replace(DEFAULTS.params.data, label_from="([^/]+)/[^/]+$")
    assert doctor(str(folder), False, AuditSettings(replace(DEFAULTS.params, data=data))) == 0
    said = capsys.readouterr().out
    assert "30 images of 3 classes" in said and "nested_folders" not in said
