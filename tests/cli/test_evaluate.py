"""`graft evaluate` on any labelled source: classes by name, what is null, what cannot be read, exit codes."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

from graft.calibration.fitted_trust import FittedTrust, Novelty, Temperature, Threshold
from graft.calibration.novelty import features_of
from graft.cli.evaluate import evaluate_model
from graft.core.errors import DataError, WeightsError
from graft.core.files import sha256
from graft.inference.artifact import Artifact, load_artifact, save_artifact
from graft.inference.predictor import Predictor
from graft.models.zoo.registry import build_network, builder_for

CLASSES = ("cat", "dog", "owl")


def save_model(folder: Path, classes: tuple[str, ...] = CLASSES, seed: int = 0, **provenance: object) -> Path:
    """A small network of random weights."""
    arch = "shufflenet_v2_x0_5"
    torch.manual_seed(seed)
    artifact = Artifact(classes, arch, "none", 1, builder_for(arch).preprocessing(arch, 32), provenance=provenance)
    save_artifact(folder, artifact, build_network(arch, len(classes), depth=1))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "packaged")


@pytest.fixture
def ask(model: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """The object that `--json` prints."""

    def run(data: Path, out: Path | None = None, which: Path = model) -> dict[str, Any]:
        evaluate_model(which, str(data), True, out)
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return run


def test_figures_are_those_of_the_models_own_answers(
    model: Path, ask: Callable[..., dict[str, Any]], make_classes: Callable[..., Path], tmp_path: Path
) -> None:
    # The names' order in the data is not the model's: classes must be matched by name.
    data = make_classes({"owl": 4, "cat": 6, "dog": 5})
    found = ask(data, tmp_path / "out")
    files = sorted(data.rglob("*.png"))
    truth = [file.parent.name for file in files]
    predictor = Predictor.load(model)
    said = [predictor.classes[place] for place in predictor.predict(files).argmax(axis=1)]
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, said))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, said, average="macro"))
    low, high = found["accuracy_ci95"]
    assert low <= found["accuracy"] <= high
    assert (found["n_test"], found["data"]["side"], found["data"]["unreadable"]) == (15, "all", [])
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == found
    rows = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert dict(zip(rows["path"], rows["predicted"], strict=True)) == {
        file.relative_to(data).as_posix(): name for file, name in zip(files, said, strict=True)
    }


def test_a_class_that_the_data_lacks_is_null_with_a_reason(
    ask: Callable[..., dict[str, Any]], make_classes: Callable[..., Path]
) -> None:
    found = ask(make_classes({"cat": 3, "dog": 3}))
    owl = next(row for row in found["per_class"] if row["class"] == "owl")
    assert (owl["n_test"], owl["precision"], owl["recall"], owl["f1"]) == (0, None, None, None)
    assert owl["reason"] == "no test images of this class"


def test_one_image_gives_figures_or_reasons(
    ask: Callable[..., dict[str, Any]], make_classes: Callable[..., Path]
) -> None:
    found = ask(make_classes({"dog": 1}))
    assert found["n_test"] == 1
    assert found["accuracy"] in (0, 1)
    low, high = found["accuracy_ci95"]
    assert high - low > 0.5  # one image proves next to nothing
    assert found["kappa"] is None and found["reasons"]["kappa"] == "all images are of one class"


def test_unknown_classes_are_refused_by_name(model: Path, make_classes: Callable[..., Path]) -> None:
    data = make_classes({"cat": 2, "Dog": 2, "zebra": 2})
    with pytest.raises(WeightsError) as refused:
        evaluate_model(model, str(data), True, None)
    assert refused.value.message() == (
        f"the model in {model} does not know 'Dog', 'zebra'; it knows 'cat', 'dog', 'owl'\n"
        "  remedy: rename these classes in the data ('Dog' is perhaps 'dog'), take their images out, or name a model "
        "that knows them"
    )


def test_only_the_test_side_of_divided_data_is_measured(
    ask: Callable[..., dict[str, Any]], make_classes: Callable[..., Path]
) -> None:
    make_classes({"cat": 5, "dog": 5}, name="data/train")
    make_classes({"cat": 2, "dog": 1}, name="data/test", seed=77)
    found = ask(make_classes({}, name="data"))
    assert (found["n_test"], found["data"]["side"], found["data"]["left_for_training"]) == (3, "test", 10)


def test_a_table_is_read_with_its_split_and_groups(
    model: Path, make_classes: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_classes({"cat": 4, "dog": 4})
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    pd.DataFrame(
        {
            "path": files,
            "label": [file.split("/")[1] for file in files],
            "split": ["train", "test", "test", "test"] * 2,
            "group": ["a", "b", "b", "c", "d", "e", "e", "f"],
        }
    ).to_csv(tmp_path / "table.csv", index=False)
    evaluate_model(model, str(tmp_path / "table.csv"), False, None)
    said = capsys.readouterr().out
    assert "the test side, 6 images; 2 images of the training side left alone" in said
    assert "4 groups: " in said


def test_what_cannot_be_decoded_is_listed_and_not_counted(
    model: Path, make_classes: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_classes({"cat": 3, "dog": 3})
    intact = make_classes({"cat": 3, "dog": 3}, name="intact")
    (intact / "cat" / "cat_001.png").unlink()
    (data / "cat" / "cat_001.png").write_bytes(b"no image")
    with pytest.raises(DataError) as refused:
        evaluate_model(model, str(data), True, tmp_path / "out")
    # As with `graft predict`: what can be done is done, and then the exit code says that it was not all.
    assert refused.value.message() == (
        "1 of 6 images cannot be decoded; the figures are of the other 5\n"
        "  where: cat/cat_001.png\n"
        "  remedy: take these files out, or run `graft doctor` on this data: it names what is wrong with each"
    )
    found = json.loads(capsys.readouterr().out)
    evaluate_model(model, str(intact), True, None)
    wanted = json.loads(capsys.readouterr().out)
    assert found["n_test"] == 5
    assert [item["path"] for item in found["data"]["unreadable"]] == ["cat/cat_001.png"]
    assert (found["log_loss"], found["per_class"]) == (wanted["log_loss"], wanted["per_class"])
    assert len((tmp_path / "out" / "unreadable.csv").read_text().splitlines()) == 2
    with pytest.raises(DataError, match="1 of 6 images"):
        evaluate_model(model, str(data), False, None)
    said = capsys.readouterr()
    assert "1 file or folder cannot be decoded" in said.err and "accuracy" in said.out


def test_an_empty_test_side_is_refused(model: Path, make_classes: Callable[..., Path]) -> None:
    data = make_classes({"cat": 3, "dog": 3}, name="data/train").parent
    (data / "test" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match="the test side is empty: all 6 images are for training"):
        evaluate_model(model, str(data), True, None)


def test_what_the_card_says_is_held_against_the_images(
    ask: Callable[..., dict[str, Any]], make_classes: Callable[..., Path], tmp_path: Path
) -> None:
    data, arch = make_classes({"cat": 6, "dog": 6}), "shufflenet_v2_x0_5"
    plain = save_model(tmp_path / "plain")
    before = ask(data, which=plain)
    artifact, network = load_artifact(plain)
    trust = FittedTrust(
        Temperature(2.5, 2.0, 3.0, 40, None), Threshold(0.5, 0.9, 40, None), Novelty(0.5, 1, 0.95, 40, 6)
    )
    images = np.stack([artifact.preprocessing.geometry.load(file) for file in sorted((data / "cat").iterdir())])
    reference = features_of(network, artifact.preprocessing, images)
    save_artifact(tmp_path / "trusted", dataclasses.replace(artifact, trust=trust), network, reference)
    found = ask(data, tmp_path / "out", tmp_path / "trusted")
    assert found["accuracy"] == before["accuracy"] and artifact.arch == arch
    calibration = found["calibration"]
    assert calibration["log_loss_before"] == pytest.approx(before["log_loss"], abs=1e-9)
    assert calibration["log_loss_after"] == found["log_loss"] != before["log_loss"]
    assert calibration["ece_before"] == pytest.approx(before["calibration_error"], abs=1e-9)
    assert (calibration["temperature"], calibration["temperature_ci95"], calibration["n_fitted"]) == (2.5, [2, 3], 40)
    rows = pd.read_csv(tmp_path / "out" / "predictions.csv")
    sure = rows["confidence"] >= 0.5
    assert found["unsure"]["coverage"] == pytest.approx(sure.mean())
    assert found["novelty"]["usual"] >= 0.5 and found["novelty"]["usual_ci95"] is not None
    assert list(pd.read_csv(tmp_path / "out" / "coverage.csv")) == ["confidence", "coverage", "accuracy", "answered"]
    assert before["novelty"]["usual"] is None and before["novelty"]["usual_reason"] == "the training held out no images"
    assert before["calibration"]["reason"] == "the training held out no images"


def test_nothing_to_decode_is_refused(model: Path, make_classes: Callable[..., Path]) -> None:
    data = make_classes({"cat": 2})
    for file in data.rglob("*.png"):
        file.write_bytes(b"no image")
    with pytest.raises(DataError, match="none of the 2 images can be decoded"):
        evaluate_model(model, str(data), True, None)


def test_copies_are_one_unit_and_two_labels_are_refused(
    model: Path, make_classes: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_classes({"cat": 3, "dog": 3})
    shutil.copy(data / "cat" / "cat_000.png", data / "cat" / "again.png")
    evaluate_model(model, str(data), False, None)
    assert "6 groups: " in capsys.readouterr().out
    shutil.copy(data / "cat" / "cat_000.png", data / "dog" / "again.png")
    with pytest.raises(DataError, match=r"two labels: cat/again.png \(cat\) and dog/again.png \(dog\)"):
        evaluate_model(model, str(data), False, None)


def test_images_of_the_training_are_counted(
    ask: Callable[..., dict[str, Any]],
    make_classes: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = make_classes({"cat": 3, "dog": 3})
    monkeypatch.chdir(tmp_path)
    assert ask(data)["data"]["seen_in_training"] is None
    names = sorted(path.relative_to(data).as_posix() for path in data.rglob("*.png"))
    splits = pd.DataFrame({"path": names, "split": ["train", "train", "test"] * 2})
    (tmp_path / "data").mkdir()
    splits.to_parquet(tmp_path / "data" / "splits.parquet")
    hashes = [sha256(data / name) for name in names]
    pd.DataFrame({"path": names, "sha256": hashes}).to_parquet(tmp_path / "data" / "manifest.parquet")
    trained = save_model(tmp_path / "trained", splits_sha256=sha256(tmp_path / "data" / "splits.parquet"))
    assert ask(data, which=trained)["data"]["seen_in_training"] == 4
    assert ask(data)["data"]["seen_in_training"] is None  # a model of another training


def test_a_folder_of_other_things_is_not_replaced(
    ask: Callable[..., dict[str, Any]], make_classes: Callable[..., Path], tmp_path: Path
) -> None:
    data, out = make_classes({"cat": 2, "dog": 2}), tmp_path / "out"
    ask(data, out)
    ask(data, out)  # an earlier evaluation is
    (out / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"the folder holds 'notes.txt'"):
        ask(data, out)
    assert (out / "notes.txt").read_text() == "mine"


def test_exit_codes(model: Path, tmp_path: Path) -> None:
    def graft(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "graft.cli.main", "evaluate", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)

    assert graft("--model", str(model)).returncode == 2
    missing = graft("--model", str(model), "--data", "nowhere")
    assert missing.returncode == 1
    assert "there is no such folder or table" in missing.stderr and "Traceback" not in missing.stderr


def test_the_same_bytes_twice(
    ask: Callable[..., dict[str, Any]], make_classes: Callable[..., Path], tmp_path: Path
) -> None:
    data = make_classes({"cat": 4, "dog": 4})
    ask(data, tmp_path / "one")
    ask(data, tmp_path / "two")
    for file in sorted((tmp_path / "one").iterdir()):
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    assert np.isfinite(pd.read_csv(tmp_path / "one" / "predictions.csv")["confidence"]).all()
