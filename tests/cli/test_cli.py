"""The commands as a person types them: output, exit codes, and messages without a traceback."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from graft.calibration.fitted_trust import FittedTrust, Novelty, Threshold
from graft.calibration.novelty import features_of
from graft.inference.artifact import Artifact, save_artifact
from graft.inference.package import version_of
from graft.models.zoo.registry import build_network, builder_for
from tests.serving.conftest import Export, package
from tests.serving.conftest import export as export  # fixtures
from tests.serving.conftest import finetuned as finetuned

GRAFT = [sys.executable, "-m", "graft.cli.main"]


def _graft(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*GRAFT, *arguments], cwd=cwd, capture_output=True, text=True, timeout=240, check=False)


def doubtful(folder: Path, artifact: Artifact) -> None:
    """A model that is sure of nothing, and finds everything but one grey image odd."""
    network = build_network(artifact.arch, 2, depth=1)
    grey = np.full((1, 32, 32, 3), 128, dtype=np.uint8)
    trust = FittedTrust(threshold=Threshold(1.0, 1.0, 50, None), novelty=Novelty(0.0001, 1, 0.95, 50, 1))
    reference = features_of(network, artifact.preprocessing, grey)
    save_artifact(folder, dataclasses.replace(artifact, trust=trust), network, reference)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a packaged model of random weights, an image, and a file that only claims to be one."""
    root = tmp_path_factory.mktemp("project")
    torch.manual_seed(0)
    arch = "shufflenet_v2_x0_5"
    artifact = Artifact(("cat", "dog"), arch, "none", 1, builder_for(arch).preprocessing(arch, 32))
    save_artifact(root / "models" / "packaged", artifact, build_network(arch, 2, depth=1))
    doubtful(root / "models" / "doubtful", artifact)
    Image.new("RGB", (50, 40), (200, 10, 10)).save(root / "red one.png")
    (root / "text.jpg").write_text("not an image")
    Image.new("1", (20_000, 1)).save(root / "strip.png")
    return root


def test_help_names_every_command(tmp_path: Path) -> None:
    done = _graft("--help", cwd=tmp_path)
    assert done.returncode == 0
    for name in ("doctor", "predict", "evaluate", "compare", "rank", "zoo", "weights", "registry"):
        assert name in done.stdout


def test_wrong_usage_is_exit_code_2(tmp_path: Path) -> None:
    assert _graft("predict", cwd=tmp_path).returncode == 2
    assert _graft("predict", "--no-such-option", cwd=tmp_path).returncode == 2


def test_predict_prints_an_object_per_file(project: Path) -> None:
    done = _graft("predict", "--json", "red one.png", "red one.png", cwd=project)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["file"] for line in lines] == ["red one.png"] * 2
    assert set(lines[0]) == {"file", "label", "probabilities", "unsure", "novelty", "unlike", "model"}
    assert sum(lines[0]["probabilities"].values()) == pytest.approx(1)
    # An undivided model of before: sure where it says more than one half, and nothing to compare the image with.
    assert (lines[0]["unsure"], lines[0]["novelty"], lines[0]["unlike"]) == (False, None, None)
    assert lines[0]["label"] == max(lines[0]["probabilities"], key=lines[0]["probabilities"].get)


@pytest.fixture
def photos(project: Path, tmp_path: Path) -> Path:
    """A folder in a project of its own: three images in folders, a damaged one, and what is no image by its name."""
    shutil.copytree(project / "models" / "packaged", tmp_path / "models" / "packaged")
    for place in ("a/1.png", "a/deep/2.PNG", "b/[3].png"):
        (tmp_path / "photos" / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project / "red one.png", tmp_path / "photos" / place)
    (tmp_path / "photos" / "b" / "broken.jpg").write_text("not an image")
    (tmp_path / "photos" / "notes.txt").write_text("not an image")
    (tmp_path / "photos" / ".hidden.png").write_text("not an image")
    return tmp_path


def test_predict_takes_folders_patterns_and_a_list_on_standard_input(photos: Path) -> None:
    def answered(*words: str, listed: str = "") -> tuple[list[str], int]:
        command = [*GRAFT, "predict", "--json", *words]
        done = subprocess.run(
            command, cwd=photos, input=listed, capture_output=True, text=True, timeout=240, check=False
        )
        assert ("photos/b/broken.jpg" in done.stderr) == (done.returncode == 1), done.stderr
        return [json.loads(line)["file"] for line in done.stdout.splitlines()], done.returncode

    one, two, three = "photos/a/1.png", "photos/a/deep/2.PNG", "photos/b/[3].png"
    assert answered("photos") == ([one, two, three], 1)
    assert answered("photos/a/", one) == ([one, two, one], 0)
    assert answered("photos/**/*.png") == ([one, three], 0)
    assert answered("photos/?") == ([one, two, three], 1)
    assert answered(three) == ([three], 0)  # a name that looks like a pattern
    assert answered("-", listed=f"{three}\r\n\nphotos/a\n") == ([three, one, two], 0)


def test_predict_writes_a_table_with_the_columns_of_its_json(photos: Path) -> None:
    line = json.loads(_graft("predict", "--json", "photos/a/1.png", cwd=photos).stdout)
    for _ in range(2):  # its own table is replaced
        done = _graft("predict", "photos", "--to", "answers.parquet", cwd=photos)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("3 answers written to answers.parquet\n") and "broken.jpg" in done.stderr
    table = pd.read_parquet(photos / "answers.parquet")
    assert list(table.columns) == list(line)
    assert table["file"].tolist() == ["photos/a/1.png", "photos/a/deep/2.PNG", "photos/b/[3].png"]
    assert table["probabilities"][0] == pytest.approx(line["probabilities"], abs=1e-6)


def test_predict_does_not_import_torch_where_there_is_an_onnx_file(
    finetuned: Path, export: Export, tmp_path: Path
) -> None:
    """That takes four seconds of a processor."""
    package(tmp_path, finetuned, export)
    Image.new("RGB", (50, 40)).save(tmp_path / "a.png")
    heavy = {"torch", "torchvision", "timm", "sklearn", "pandas", "pyarrow", "bentoml", "pydantic", "rich"}
    code = (
        "import sys; from pathlib import Path; from graft import cli; from graft.cli.predict import predict_files; "
        f"predict_files(['a.png'], None, True, None); print(*sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    answer, imported = done.stdout.splitlines()
    assert (json.loads(answer)["file"], imported) == ("a.png", "")


def test_predict_for_people(project: Path) -> None:
    done = _graft("predict", "red one.png", cwd=project)
    assert done.returncode == 0
    assert done.stdout.startswith("red one.png: ") and " %" in done.stdout


def test_predict_and_evaluate_ask_the_promoted_model_as_the_service_does(
    project: Path, tmp_path: Path, make_classes: Callable[..., Path]
) -> None:
    for source, target in (("doubtful", "promoted"), ("packaged", "packaged")):
        shutil.copytree(project / "models" / source, tmp_path / "models" / target)
    image = str(project / "red one.png")
    said = _graft("predict", image, cwd=tmp_path)
    assert said.stderr == f"by promoted:{version_of(tmp_path / 'models' / 'promoted')} in models/promoted\n"
    assert "not sure" in said.stdout
    other = _graft("predict", "--model", "models/packaged", image, image, cwd=tmp_path)
    assert other.stderr == f"by packaged:{version_of(tmp_path / 'models' / 'packaged')} in models/packaged\n"
    done = _graft("predict", "--json", image, cwd=tmp_path)
    assert json.loads(done.stdout)["model"] == f"promoted:{version_of(tmp_path / 'models' / 'promoted')}"
    assert done.stderr == ""
    measured = _graft("evaluate", "--data", str(make_classes({"cat": 2, "dog": 2})), cwd=tmp_path)
    assert " in models/promoted\n" in measured.stdout, measured.stderr


def test_commands_find_the_project_from_a_folder_inside_it(project: Path, tmp_path: Path) -> None:
    """As DVC does; files are named from where one stands, and so are the model's in messages."""
    shutil.copytree(project / "models" / "packaged", tmp_path / "models" / "packaged")
    (tmp_path / "params.yaml").touch()
    inside = tmp_path / "photos" / "of dogs"
    inside.mkdir(parents=True)
    shutil.copy(project / "red one.png", inside)
    done = _graft("predict", "red one.png", cwd=inside)
    assert done.stdout.startswith("red one.png: "), done.stderr
    assert done.stderr.endswith(" in ../../models/packaged\n")
    shutil.rmtree(tmp_path / "models")
    done = _graft("predict", "red one.png", cwd=inside)
    assert "there is no model here\n  where: ../../models/packaged/model.json\n" in done.stderr


def test_predict_says_what_not_to_rely_on(project: Path) -> None:
    done = _graft("predict", "--model", "models/doubtful", "red one.png", cwd=project)
    assert done.returncode == 0, done.stderr
    assert re.match(r"red one.png: (cat|dog), not sure, unlike the training images \(novelty \d+\.\d, 1 ", done.stdout)
    done = _graft("predict", "--json", "--model", "models/doubtful", "red one.png", cwd=project)
    line = json.loads(done.stdout)
    assert line["unsure"] is line["unlike"] is True and line["novelty"] > 1


def test_predict_answers_what_it_can_and_names_what_it_cannot(project: Path) -> None:
    done = _graft("predict", "text.jpg", "strip.png", "red one.png", "missing.png", cwd=project)
    assert done.returncode == 1
    assert done.stdout.count("\n") == 1
    assert "text.jpg" in done.stderr and "missing.png" in done.stderr
    assert "the image is a strip of 20000 x 1 pixels, and a side may be at most 100 times the other" in done.stderr
    assert "Traceback" not in done.stderr


def test_predict_without_a_model(tmp_path: Path) -> None:
    done = _graft("predict", "x.png", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "error: there is no model here\n"
        "  where: models/packaged/model.json\n"
        "  remedy: run `make demo`, or `.venv/bin/dvc repro`, to make one\n"
    )


def test_predict_in_a_new_clone_says_how_the_model_in_use_is_had(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "promoted.dvc").write_text("outs: []\n")
    done = _graft("predict", "x.png", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.endswith(
        "  remedy: `.venv/bin/dvc pull models/promoted.dvc` brings the production model; "
        "`.venv/bin/dvc repro` makes one\n"
    )


def test_a_model_whose_weights_were_exchanged_is_refused(project: Path, tmp_path: Path) -> None:
    weights = project / "models" / "packaged" / "model.safetensors"
    kept = weights.read_bytes()
    try:
        weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        done = _graft("predict", "red one.png", cwd=project)
    finally:
        weights.write_bytes(kept)
    assert done.returncode == 1
    assert "the weights are not the ones model.json was written for" in done.stderr


def test_zoo_lists_what_matches(tmp_path: Path) -> None:
    done = _graft("zoo", "--json", "timm:tf_efficientnet_lite[01]", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first["arch"] == "timm:tf_efficientnet_lite0"
    assert first["params_m"] == pytest.approx(4.65, abs=0.01)
    assert first["input_px"] == 224 and first["licence"] == "Apache-2.0"
    assert "bundled" in first["offline"] and "none" in second["offline"]


def test_zoo_without_a_match(tmp_path: Path) -> None:
    done = _graft("zoo", "resnte18", cwd=tmp_path)
    assert done.returncode == 1
    assert "no architecture matches 'resnte18'" in done.stderr and "did you mean 'resnet18'" in done.stderr


def test_weights_that_were_installed_are_verified(tmp_path: Path) -> None:
    done = _graft("weights", "fetch", "timm:tf_efficientnet_lite0:bundled", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("timm:tf_efficientnet_lite0 (bundled)\n  file:    ")
    assert "\n  licence: Apache-2.0\n  sha256:  57934424" in done.stdout


def test_weights_of_an_unknown_name(tmp_path: Path) -> None:
    done = _graft("weights", "fetch", "resnte18", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: unknown architecture 'resnte18'\n  where: resnte18\n")
    assert "unknown architecture 'resnte18'" in done.stderr and "did you mean 'resnet18'" in done.stderr


def test_mistakes_in_names_of_files_are_told_what_to_do(project: Path) -> None:
    (project / "taken.parquet").write_text("mine")
    for words, said in (
        (("--model", "red one.png", "red one.png"), "there is no model here\n  where: red one.png/model.json\n  rem"),
        (("nothing.png",), f"there is no such file\n  where: nothing.png\n  remedy: names count from {project}"),
        (("models",), "there is no image in this folder\n  where: models\n  remedy: name image files, or their folder"),
        (("no*.png",), f"no file matches this pattern\n  where: no*.png\n  remedy: patterns count from {project}"),
        (
            ("--to", "taken.parquet", "models"),
            "this file holds something else, and is not replaced\n  where: taken.parq",
        ),
    ):
        done = _graft("predict", *words, cwd=project)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"error: {said}" in done.stderr
    assert (project / "taken.parquet").read_text() == "mine"
    assert _graft("predict", "--to", "table.csv", "red one.png", cwd=project).returncode == 2


def test_help_shows_patterns_with_their_stars(tmp_path: Path) -> None:
    """Two stars in a line are emphasis to the one who sets it, and are not shown."""
    assert "'resnet*' or 'timm:*lite*'" in _graft("zoo", "--help", cwd=tmp_path).stdout


def test_help_is_not_broken_where_a_line_of_the_source_ends(tmp_path: Path) -> None:
    lines = [line.strip() for line in _graft("predict", "--help", cwd=tmp_path).stdout.splitlines()]
    begun = next(place for place, line in enumerate(lines) if line.startswith("A file that cannot be decoded"))
    assert len(lines[begun + 1]) > 60, "a paragraph fills its lines"


def test_doctor_of_a_missing_folder(tmp_path: Path) -> None:
    done = _graft("doctor", "nowhere", cwd=tmp_path)
    assert done.returncode == 1
    assert "nowhere" in done.stderr + done.stdout and "Traceback" not in done.stderr


def test_doctor_of_a_project_says_that_its_device_is_not_here(
    tmp_path: Path, make_classes: Callable[..., Path]
) -> None:
    folder = make_classes({"cat": 40, "dog": 40})
    settings = "zoo:\n  candidates:\n    - arch: resnet18\n      weights: none\ncompute:\n  device: {device}\n"
    (tmp_path / "params.yaml").write_text(settings.format(device="cuda:99"))
    done = _graft("doctor", str(folder), cwd=tmp_path)
    assert done.returncode == 1
    assert "error: there is no 'cuda:99' here: torch " in done.stderr
    (tmp_path / "params.yaml").write_text(settings.format(device="cpu"))
    assert _graft("doctor", str(folder), cwd=tmp_path).stderr == ""
