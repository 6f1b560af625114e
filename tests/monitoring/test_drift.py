"""What the journal says against what the model was trained on: planted drift is found, none is imagined."""

from __future__ import annotations

import dataclasses
import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import binomtest, ks_2samp

from graft.calibration.fitted_trust import FittedTrust, Threshold
from graft.core.errors import GraftError
from graft.core.files import write_json
from graft.core.workspace import Workspace
from graft.inference.artifact import ARTIFACT_FILE, FORMAT, Artifact
from graft.inference.package import PACKAGE_FILE, version_of
from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor
from graft.monitoring.drift import LEAST_ANSWERS, LEAST_LABELS, Accuracy, DriftReport, drift_report
from graft.monitoring.prediction_log import PredictionLog, PredictionRecord

SIDE = 8
LIMIT = 0.2
TRAINED = 120


def grey(shade: float) -> Image.Image:
    """An image of one tone; the model sees it as it is."""
    return Image.new("L", (SIDE, SIDE), round(shade * 255)).convert("RGB")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A project with training images of brightness 0.3 to 0.5, as many ants as bees, a model, and its evaluation."""
    workspace = Workspace(tmp_path)
    shades = np.linspace(0.3, 0.5, TRAINED)
    labels = ["ant" if number % 2 else "bee" for number in range(TRAINED)]
    paths = [f"{label}/{number}.png" for number, label in enumerate(labels)]
    for path, shade in zip(paths, shades, strict=True):
        (workspace.raw / path).parent.mkdir(parents=True, exist_ok=True)
        grey(shade).save(workspace.raw / path)
    table = pd.DataFrame({"path": paths, "label": labels, "split": "train", "width": SIDE, "height": SIDE})
    # What the test split holds is not what training is compared by.
    table = pd.concat([table, table.head(10).assign(path="x", split="test", label="wasp")], ignore_index=True)
    table[["path", "label", "split"]].to_parquet(workspace.splits)
    table[["path", "width", "height"]].drop_duplicates("path").to_parquet(workspace.manifest)
    mean = (0.5, 0.5, 0.5)
    card = Artifact(
        ("ant", "bee"),
        "resnet18",
        "none",
        None,
        ImagePreprocessor(Geometry(SIDE, 1.0, "bilinear"), mean, mean),
        trust=FittedTrust(threshold=Threshold(confidence=0.7)),
    )
    for folder in (workspace.finetuned, workspace.packaged):
        folder.mkdir(parents=True)
        write_json(folder / ARTIFACT_FILE, {"format": FORMAT, **dataclasses.asdict(card)})
    workspace.evaluation.mkdir(parents=True)
    confidence = np.linspace(0.6, 1.0, 100)
    pd.DataFrame({"path": "x", "confidence": confidence}).to_csv(workspace.evaluation / "predictions.csv")
    metrics = {"accuracy_ci95": [0.9, 0.96], "novelty": {"usual": 0.95}}
    (workspace.evaluation / "metrics.json").write_text(json.dumps(metrics))
    return workspace


def answered(workspace: Workspace, count: int = 200, **changed: Any) -> list[str]:
    """Answers like the training and test images, but for what is ``changed`` (values, or a list of them)."""
    usual: dict[str, Any] = {
        "model": version_of(workspace.finetuned),
        "label": ["ant", "bee"] * (count // 2),
        "confidence": np.linspace(0.6, 1.0, count),
        "novelty": [1.2] * (count // 20) + [0.5] * (count - count // 20),
        "width": SIDE,
        "height": SIDE,
        "brightness": np.linspace(0.3, 0.5, count),
        "contrast": 0.0,
    } | changed
    columns = {name: value if np.ndim(value) else [value] * count for name, value in usual.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    made = []
    for row in rows:
        stats = {name: float(row.pop(name)) for name in ("width", "height", "brightness", "contrast")}
        unsure = bool(row.pop("unsure", row["confidence"] < 0.7))
        made.append(PredictionRecord(id=uuid.uuid4().hex, at=time.time(), unsure=unsure, stats=stats, **row))
    PredictionLog(workspace.prediction_log).add(made)
    return [one.id for one in made]


def look(workspace: Workspace) -> DriftReport:
    return drift_report(workspace, PredictionLog(workspace.prediction_log).read(), LIMIT)


def test_what_is_like_the_training_images_is_steady(workspace: Workspace) -> None:
    answered(workspace)
    found = look(workspace)
    assert found.status == "steady", found.describe()
    assert [shift.feature for shift in found.shifts] == [
        "class",
        "brightness",
        "contrast",
        "shorter side",
        "width over height",
        "confidence",
        "not sure",
        "unlike the training images",
    ]
    assert found.describe() == "steady: 200 answers, of which 32% of another kind would show 80% of the time"


@pytest.mark.parametrize(
    ("changed", "fact"),
    [
        ({"brightness": 0.9}, "brightness"),
        ({"contrast": 0.4}, "contrast"),
        ({"width": 3 * SIDE, "height": 3 * SIDE}, "shorter side"),
        ({"width": 3 * SIDE}, "width over height"),
        ({"label": "ant"}, "class"),
        ({"confidence": 0.75}, "confidence"),
        ({"unsure": True}, "not sure"),
        ({"novelty": 2.0}, "unlike the training images"),
    ],
)
def test_each_planted_drift_is_found_and_named(workspace: Workspace, changed: dict[str, Any], fact: str) -> None:
    answered(workspace, **changed)
    found = look(workspace)
    assert found.status == "drifted"
    assert fact in [shift.feature for shift in found.drifted]
    assert f"{fact} moved by" in found.describe()
    # One change of one fact: only what follows from it moved too.
    assert len(found.drifted) <= 2


def test_the_distance_of_numbers_is_scipys(workspace: Workspace) -> None:
    answered(workspace, brightness=np.linspace(0.35, 0.6, 200))
    shift = next(shift for shift in look(workspace).shifts if shift.feature == "brightness")
    shades = [np.asarray(grey(shade))[0, 0, 0] / 255 for shade in np.linspace(0.3, 0.5, TRAINED)]
    assert shift.distance == pytest.approx(ks_2samp(shades, np.linspace(0.35, 0.6, 200)).statistic, abs=0.01)


def test_few_answers_tell_nothing(workspace: Workspace) -> None:
    assert look(workspace).status == "too few answers"
    answered(workspace, LEAST_ANSWERS - 2, brightness=0.9)
    assert look(workspace).status == "too few answers"
    answered(workspace, 2, brightness=0.9, label="ant", novelty=0.5)
    assert look(workspace).status == "drifted"


def test_answers_of_another_model_are_not_held_against_this_ones_tests(workspace: Workspace) -> None:
    answered(workspace, model="another", confidence=0.75)
    found = look(workspace)
    assert found.status == "steady", found.describe()
    assert "confidence" not in [shift.feature for shift in found.shifts]


def test_a_model_that_cannot_tell_novelty_has_none_to_drift(workspace: Workspace) -> None:
    answered(workspace, novelty=[None] * 200)
    assert "unlike the training images" not in [shift.feature for shift in look(workspace).shifts]


@pytest.mark.parametrize(("right", "word"), [(38, "steady"), (34, "steady"), (30, "worse")])
def test_accuracy_has_an_exact_interval_and_is_worse_only_beyond_doubt(
    workspace: Workspace, right: int, word: str
) -> None:
    ids = answered(workspace)
    correct(workspace, sorted(ids)[:40], right)
    found = look(workspace)
    assert found.status == word
    assert found.accuracy is not None
    expected = binomtest(right, 40).proportion_ci(0.95, method="exact")
    assert found.accuracy.interval == pytest.approx((expected.low, expected.high))
    known = found.accuracy
    assert (known.labels, known.judged, known.right, known.sampled, known.promised) == (40, 40, right, True, 0.9)
    assert f"accuracy {right / 40:.3f} (" in found.describe()
    assert "promised 0.900) on the labels of 40 answers drawn at random" in found.describe()


def test_one_wrong_label_is_no_verdict_and_labels_of_random_answers_are_asked_for(workspace: Workspace) -> None:
    ids = answered(workspace)
    correct(workspace, ids[:1], right=0)
    found = look(workspace)
    assert found.status == "steady" and found.accuracy is not None
    assert found.describe().endswith(
        "; accuracy is not judged: 1 labels came back, and people correct what is wrong; give the labels, right or "
        "wrong, of 20 answers that were drawn at random"
    )
    assert set(found.accuracy.wanted) == set(sorted(ids)[:LEAST_LABELS]) - {ids[0]}
    correct(workspace, found.accuracy.wanted, right=LEAST_LABELS - 1)
    judged = look(workspace).accuracy
    assert judged is not None
    assert (judged.judged, judged.wanted, judged.is_worse) == (LEAST_LABELS, (), False)


def test_corrections_of_all_that_is_wrong_do_not_make_a_good_model_worse(workspace: Workspace) -> None:
    """Nine of ten answers are right, as promised; people give the label of each wrong one and of no other."""
    correct(workspace, answered(workspace, 400)[::10], right=0)
    found = look(workspace)
    assert found.accuracy is not None and found.status == "steady"
    assert (found.accuracy.judged, found.accuracy.right, found.accuracy.sampled) == (400, 360, False)
    assert "accuracy at most 0.900 (" in found.describe()
    assert "40 of 400 answers have a label, and the others count as right" in found.describe()


def test_what_would_be_too_many_wrong_even_if_all_others_were_right_is_worse(workspace: Workspace) -> None:
    correct(workspace, answered(workspace, 200)[::4], right=0)
    assert look(workspace).status == "worse"


def test_what_so_few_labels_can_show_is_said_and_holds(workspace: Workspace) -> None:
    """50 of 60 right is no proof where 0.9 was promised: the fall that would be one is named."""
    correct(workspace, answered(workspace, 60), right=50)
    found = look(workspace)
    assert found.status == "steady" and found.accuracy is not None and found.accuracy.noticed is not None
    assert f"; a fall to {found.accuracy.noticed:.2f} would show 80% of the time" in found.describe()
    worse = [Accuracy(60, 60, right, True, 0.9).is_worse for right in range(61)]
    drawn = np.random.default_rng(0).binomial(60, found.accuracy.noticed, 20_000)
    assert np.mean(np.array(worse)[drawn]) == pytest.approx(0.8, abs=0.01)
    # The share of images of another kind is counted in the same way.
    over = np.random.default_rng(0).binomial(found.answers, found.noticed, 20_000) / found.answers
    assert np.mean(over > max(LIMIT, *(shift.chance for shift in found.shifts))) == pytest.approx(0.8, abs=0.02)


def correct(workspace: Workspace, ids: Sequence[str], right: int) -> None:
    """Give labels: the answer's own for the first ``right``, another for the rest."""
    journal = PredictionLog(workspace.prediction_log)
    said = dict(journal.read()[["id", "label"]].itertuples(index=False))
    for number, one in enumerate(ids):
        journal.correct(one, said[one] if number < right else "wasp", time.time())


def give_labels(workspace: Workspace, model: str, right: int, count: int = 40) -> None:
    correct(workspace, answered(workspace, count, model=model, label="ant"), right)


def test_the_model_in_use_is_held_to_its_own_promise_and_not_to_its_predecessors_mistakes(workspace: Workspace) -> None:
    give_labels(workspace, "replaced", right=10)
    give_labels(workspace, version_of(workspace.finetuned), right=38)
    found = look(workspace).accuracy
    assert found is not None and not found.is_worse
    assert (found.labels, found.right, found.promised) == (40, 38, 0.9)


def test_a_training_that_was_not_promoted_changes_nothing_of_what_the_model_in_use_promised(
    workspace: Workspace,
) -> None:
    card = json.loads((workspace.packaged / ARTIFACT_FILE).read_text())
    workspace.promoted.mkdir()
    write_json(workspace.promoted / ARTIFACT_FILE, {**card, "arch": "resnet34"})
    version = version_of(workspace.promoted)
    package = {"name": "birds", "version": version, "metrics": {"accuracy_ci95": [0.7, 0.8]}, "gate": []}
    write_json(workspace.promoted / PACKAGE_FILE, package)
    give_labels(workspace, version, right=30)
    found = look(workspace).accuracy
    assert found is not None and (found.promised, found.is_worse) == (0.7, False)


def test_answers_of_models_that_are_gone_are_told_without_a_promise(workspace: Workspace) -> None:
    give_labels(workspace, "replaced", right=10)
    found = look(workspace).accuracy
    assert found is not None and (found.labels, found.promised, found.is_worse) == (40, None, False)


def test_without_training_data_it_says_what_to_do(workspace: Workspace) -> None:
    answered(workspace)
    workspace.splits.unlink()
    with pytest.raises(GraftError) as caught:
        look(workspace)
    assert caught.value.message() == (
        f"there is no training data to compare with\n  where: {workspace.splits}\n  remedy: run `.venv/bin/dvc repro`"
    )
