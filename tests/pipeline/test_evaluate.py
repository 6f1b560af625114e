"""Stages `score` and `evaluate` on a tiny workspace with real artifacts: every file of the contract, every refusal."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML
from scipy.stats import binomtest

from graft.core.config import load_params
from graft.core.errors import DataError, WeightsError
from graft.core.workspace import Workspace
from graft.evaluation import cost, inference
from graft.inference.artifact import Artifact, save_artifact
from graft.inference.package import version_of
from graft.inference.predictor import Predictor
from graft.modalities.image.preprocessing import Geometry, ImagePreprocessor
from graft.models.zoo.registry import build_network
from graft.pipeline import evaluate, score
from graft.selection.evidence import RANDOM_WEIGHTS, EvidenceRow, write_evidence

ROOT = Path(__file__).parents[2]
CLASSES = ("ant", "bee", "wasp")
BUDGET = {"steps": 30, "epochs": 10, "images": 9, "learning_rate": 0.003, "size": 32, "tried": []}
QUICK = {
    "train": {"label_counts": [1, 7]},
    "compute": {"threads": 1},
}


def _save(
    folder: Path,
    seed: int,
    classes: tuple[str, ...] = CLASSES,
    weights: str = "source",
    size: int = 32,
    **provenance: object,
) -> None:
    torch.manual_seed(seed)
    preprocessing = ImagePreprocessor(Geometry(size, 1.0, "bilinear"), (0.5,) * 3, (0.5,) * 3)
    network = build_network("shufflenet_v2_x0_5", len(classes))
    artifact = Artifact(classes, "shufflenet_v2_x0_5", weights, None, preprocessing, provenance=provenance)
    save_artifact(folder, artifact, network)


@pytest.fixture(autouse=True)
def _memory_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of its own takes seconds; tests/evaluation measures with it."""
    monkeypatch.setattr(cost, "measure_footprint", lambda *asked: cost.Footprint(None, "not asked for"))


@pytest.fixture
def workspace(workspace_with: Callable[..., Path], make_classes: Callable[..., Path]) -> Callable[..., Workspace]:
    """A project whose images, splits and models are there, 3 training and 4 test images a class."""

    def make(weights: str = "source", **sections: object) -> Workspace:
        found = Workspace(workspace_with(**{**QUICK, **sections}))
        make_classes(dict.fromkeys(CLASSES, 7), name="project/data/raw")
        paths = sorted(path.relative_to(found.raw).as_posix() for path in found.raw.rglob("*.png"))
        table = pd.DataFrame({"path": paths, "label": [path.split("/")[0] for path in paths]})
        table["split"] = ["train" if i % 7 < 3 else "test" for i in range(len(table))]
        table["fold"] = [i % 3 if i % 7 < 3 else -1 for i in range(len(table))]
        table["group"] = [f"g{i}" for i in range(len(table))]
        table.to_parquet(found.splits)
        _save(found.finetuned, 0, weights=weights)
        return found

    return make


def _score(workspace: Workspace) -> dict:
    score.run(load_params(workspace.params), workspace)
    return json.loads((workspace.scores / "metrics.json").read_text())


def _evaluate(workspace: Workspace) -> dict:
    evaluate.run(load_params(workspace.params), workspace)
    return json.loads((workspace.evaluation / "metrics.json").read_text())


def _run(workspace: Workspace) -> dict:
    _score(workspace)
    return _evaluate(workspace)


def test_every_file_of_the_contract(workspace: Callable[..., Workspace]) -> None:
    ws = workspace()
    folders = (ws.controls / "scratch", ws.label_curve / "labels-1", ws.controls / "labels-1")
    for seed, folder in enumerate(folders, start=1):
        # Another order of classes and another size: figures must not mind.
        order = ("wasp", "ant", "bee") if seed == 1 else CLASSES
        _save(folder, seed, order, "none", 24 + 8 * (seed % 2), budget=BUDGET)
    found = _run(ws)
    assert {path.name for path in ws.evaluation.iterdir()} == {
        "metrics.json", "per_class.csv", "confusion.csv", "predictions.csv", "label_curve.csv", "roc.csv",
        "pr.csv", "coverage.csv", "report.html", "slices.csv", "suspects.csv", "model_card.md", "headline.json",
        "plots",
    }  # fmt: skip
    assert found["n_test"] == 12 and found["n_train"] == 9
    predictions = pd.read_csv(ws.evaluation / "predictions.csv")
    assert found["accuracy"] == pytest.approx((predictions["label"] == predictions["predicted"]).mean())
    assert found["transfer"]["verdict"] in {"helps", "hurts", "undecided"}
    control = Predictor.load(ws.controls / "scratch")
    named = np.array(control.classes)[control.predict([ws.raw / path for path in predictions["path"]]).argmax(1)]
    assert found["transfer"]["control_accuracy"] == pytest.approx((named == predictions["label"]).mean())
    # labels-7 was not trained, as no class has more than that.
    assert [point["labels_per_class"] for point in found["label_curve"]] == [1, 3]
    assert pd.read_csv(ws.evaluation / "confusion.csv").columns.tolist() == ["label", *CLASSES]
    assert "Does transfer help?" in (ws.evaluation / "report.html").read_text()
    assert [path.name for path in ws.control.iterdir()] == ["control.json"]
    told = json.loads((ws.control / "control.json").read_text())
    assert told.pop("model") == version_of(ws.finetuned) and told.pop("label_curve") == found["label_curve"]
    assert told == found["transfer"] and told["control_budget"] == BUDGET


@pytest.mark.parametrize("half", ["label_curve", "controls"])
def test_half_a_pair_is_left_out(workspace: Callable[..., Workspace], half: str) -> None:
    ws = workspace()
    _save(ws.controls / "scratch", 1)
    _save(getattr(ws, half) / "labels-1", 2)
    assert [point["labels_per_class"] for point in _run(ws)["label_curve"]] == []


def test_evaluation_says_what_serving_says(workspace: Callable[..., Workspace]) -> None:
    ws = workspace()
    _run(ws)
    predictions = pd.read_csv(ws.evaluation / "predictions.csv")
    served = Predictor.load(ws.finetuned)
    for row in predictions.head(3).to_dict("records"):
        alone = served.predict([(ws.raw / row["path"]).read_bytes()])[0]
        np.testing.assert_allclose([row[f"p_{name}"] for name in CLASSES], alone, atol=1e-5)


def test_same_figures_again(workspace: Callable[..., Workspace]) -> None:
    ws = workspace()
    timed = ("latency_ms", "latency_p95_ms", "cost")
    first, second = ({key: value for key, value in _run(ws).items() if key not in timed} for _ in range(2))
    assert first == second


def test_training_images_stay_closed(workspace: Callable[..., Workspace]) -> None:
    ws = workspace()
    splits = pd.read_parquet(ws.splits)
    for path in splits.loc[splits["split"] == "train", "path"]:
        (ws.raw / path).unlink()
    assert _run(ws)["n_test"] == 12


@pytest.mark.parametrize(
    ("weights", "train", "reason"),
    [
        ("source", {"control": False}, "no control was trained, because train.control is false (preset: balanced)"),
        ("none", {}, "the chosen model itself began without pretrained weights, so nothing was transferred"),
        ("source", {}, "there is no control in models/controls/scratch; run the control stage again"),
    ],
    ids=["off", "nothing transferred", "missing"],
)
def test_without_a_control_the_verdict_says_why(
    workspace: Callable[..., Workspace], weights: str, train: dict, reason: str
) -> None:
    ws = workspace(weights, train=train)
    if reason.startswith("no control") or weights == "none":
        _save(ws.controls / "scratch", 1)  # left over from a former run: must not be read
    transfer = _run(ws)["transfer"]
    assert (transfer["verdict"], transfer["reason"], transfer["difference"]) == ("undecided", reason, None)
    assert "was not tested" in (ws.evaluation / "report.html").read_text()


def test_class_without_test_images_is_null_with_a_reason(workspace: Callable[..., Workspace]) -> None:
    ws = workspace()
    splits = pd.read_parquet(ws.splits)
    splits.loc[splits["label"] == "wasp", "split"] = "train"
    splits.to_parquet(ws.splits)
    found = _run(ws)
    rows = pd.read_csv(ws.evaluation / "per_class.csv").set_index("class")
    assert rows.loc["wasp", "n_test"] == 0 and rows.loc["wasp", ["precision", "recall", "f1"]].isna().all()
    assert found["n_test"] == 8 and found["macro_f1"] is not None
    assert "no test images of this class" in (ws.evaluation / "report.html").read_text()


def test_empty_test_split_is_refused_and_leaves_nothing(workspace: Callable[..., Workspace]) -> None:
    ws = workspace()
    pd.read_parquet(ws.splits).assign(split="train").to_parquet(ws.splits)
    with pytest.raises(DataError, match="the test split is empty"):
        _run(ws)
    assert not ws.scores.exists() and not ws.evaluation.exists()


def test_the_model_in_use_answers_the_same_images_with_its_own_preprocessing(
    workspace: Callable[..., Workspace],
) -> None:
    ws = workspace()
    _save(ws.packaged, 5, size=24)
    _save(ws.promoted, 4, ("wasp", "ant", "bee"), size=40)
    found = _run(ws)
    predictions = pd.read_csv(ws.evaluation / "predictions.csv")
    old = Predictor.load(ws.promoted)
    named = np.array(old.classes)[old.predict([ws.raw / path for path in predictions["path"]]).argmax(1)]
    right, was_right = predictions["label"] == predictions["predicted"], predictions["label"] == named
    told = found["production"]
    assert told["version"] == version_of(ws.promoted), "the promoted model is in use, not the packaged one"
    assert told["accuracy"] == pytest.approx(was_right.mean())
    assert told["difference"] == pytest.approx(right.mean() - was_right.mean())
    assert told["difference_ci95"][0] <= told["difference"] <= told["difference_ci95"][1]
    changed = int((right != was_right).sum())
    assert told["p_value"] == (
        pytest.approx(binomtest(int((right & ~was_right).sum()), changed).pvalue) if changed else None
    )
    assert told["better"] in {"new", "production", "undecided"} and told["reason"] is None
    assert "trained on another division" in told["note"]
    page, card = ((ws.evaluation / name).read_text(encoding="utf-8") for name in ("report.html", "model_card.md"))
    assert "Against the production model" in page and told["version"] in page
    assert "## Against the production model" in card


def test_without_another_model_in_use_there_is_no_comparison(workspace: Callable[..., Workspace]) -> None:
    ws = workspace()
    assert _run(ws)["production"] is None
    shutil.copytree(ws.finetuned, ws.packaged)
    assert _run(ws)["production"] is None, "it is the production model itself"
    assert "Against the production model" not in (ws.evaluation / "report.html").read_text(encoding="utf-8")


def test_a_model_in_use_that_cannot_be_compared_is_told_and_stops_nothing(workspace: Callable[..., Workspace]) -> None:
    ws = workspace()
    _save(ws.packaged, 5, ("ant", "bee"))
    told = _run(ws)["production"]
    assert (told["difference"], told["reason"]) == (None, "it knows other classes than this data has")
    _save(ws.promoted, 5)
    (ws.promoted / "model.safetensors").write_bytes(b"damaged")
    told = _run(ws)["production"]
    assert told["difference"] is None and "it cannot be loaded: the weights are not the ones" in told["reason"]


def test_the_gate_s_figures_are_there_before_any_control_and_are_those_of_the_report(
    workspace: Callable[..., Workspace],
) -> None:
    """All but what is said of transfer, of which `score` says nothing."""
    ws = workspace()
    _save(ws.packaged, 5, size=24)
    scored = _score(ws)
    assert {path.name for path in ws.scores.iterdir()} == {"outputs.parquet", "cost.json", "metrics.json"}
    assert not ws.evaluation.exists() and "transfer" not in scored and "label_curve" not in scored
    _save(ws.controls / "scratch", 1)
    found = _evaluate(ws)
    assert {"transfer", "label_curve"} == set(found) - set(scored)
    assert {name: found[name] for name in scored} == scored, "cost and the comparison with production too"
    assert scored["production"]["version"] == version_of(ws.packaged)


def test_evaluate_runs_no_model_again_that_was_scored(
    workspace: Callable[..., Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = workspace()
    _save(ws.controls / "scratch", 1)
    _score(ws)
    asked: list[list[str]] = []
    real = inference.answers_of

    def answers_of(models: dict, *more: object) -> dict:
        asked.append(sorted(models))
        return real(models, *more)

    monkeypatch.setattr(inference, "answers_of", answers_of)
    _evaluate(ws)
    assert asked == [["scratch control"]]


def test_without_scores_or_with_those_of_other_images_nothing_is_evaluated(
    workspace: Callable[..., Workspace],
) -> None:
    ws = workspace()
    with pytest.raises(DataError, match="the model was not run on the test images yet"):
        _evaluate(ws)
    _score(ws)
    splits = pd.read_parquet(ws.splits)
    splits.loc[splits.index[splits["split"] == "test"][0], "split"] = "train"
    splits.to_parquet(ws.splits)
    with pytest.raises(DataError, match="the table of the model's outputs is of other images"):
        _evaluate(ws)
    assert not ws.evaluation.exists() and not ws.control.exists()


GAINS = EvidenceRow(RANDOM_WEIGHTS, 0.9, 0.5, 0.4, (0.3, 0.5), "accuracy")


@pytest.mark.parametrize("control", [False, True])
def test_the_cheap_evidence_decides_where_there_is_no_control(
    workspace: Callable[..., Workspace], control: bool
) -> None:
    ws = workspace(train={"control": control, "label_counts": []})
    if control:
        _save(ws.controls / "scratch", 0)  # the same network: undecided
    ws.selection.mkdir(parents=True)
    write_evidence((GAINS,), ws.selection / "evidence.json")
    found = _run(ws)["transfer"]
    assert found["verdict"] == ("undecided" if control else "helps")
    assert found["rule"].startswith("the delivered model against" if control else "a linear head on pretrained")
    assert [row["rival"] for row in found["evidence"]] == [RANDOM_WEIGHTS]
    assert "Cheap evidence" in (ws.evaluation / "report.html").read_text(encoding="utf-8")


def test_the_folds_of_the_delivered_strategy_pair_with_the_control_s(workspace: Callable[..., Workspace]) -> None:
    """Planted: another strategy was perfect on each fold, and the delivered one on none but the first."""
    ws = workspace()
    _save(ws.finetuned, 0, strategy="finetune")
    _save(ws.controls / "scratch", 1)
    scores = {"seed": 0, "fold": [0, 1, 2], "train_images": 6, "test_images": 3, "control": [0.5, 0.25, 0.0]}
    pd.DataFrame(scores).to_csv(ws.controls / "fold_scores.csv", index=False)
    train = pd.read_parquet(ws.splits).query("split == 'train'")[["path", "label", "fold"]]
    tables = []
    for strategy in ("extract", "finetune"):
        right = (train["fold"] == 0) | (strategy == "extract")
        said = {f"logit:{name}": np.where(right, train["label"] == name, train["label"] != name) for name in CLASSES}
        rows = train.assign(strategy=strategy, **{name: values.astype(float) for name, values in said.items()})
        tables.append(rows[(rows["fold"] < 2) | (strategy == "extract")])
    ws.selection.mkdir(parents=True)
    pd.concat(tables).to_parquet(ws.selection / "out_of_fold.parquet")
    folds = _run(ws)["transfer"]["folds"]
    assert (folds["folds"], folds["seeds"]) == (2, 1)
    assert folds["difference"] == pytest.approx(((1.0 - 0.5) + (0.0 - 0.25)) / 2)


def test_a_control_for_which_the_time_was_up_is_told(workspace: Callable[..., Workspace]) -> None:
    ws = workspace()
    ws.controls.mkdir(parents=True)
    (ws.controls / "controls.json").write_text(json.dumps({"trained": [], "out_of_time": True}))
    assert _run(ws)["transfer"]["reason"] == "the time limit passed before the control was trained"


def test_models_of_other_classes_are_refused_by_name(workspace: Callable[..., Workspace]) -> None:
    ws = workspace()
    _save(ws.controls / "scratch", 1, ("ant", "bee", "fly"))
    with pytest.raises(WeightsError, match=r"the control 'scratch' was made for other classes: .*'wasp'.*'fly'"):
        _run(ws)
    _save(ws.finetuned, 1, ("ant", "bee"))
    with pytest.raises(WeightsError, match=r"the fine-tuned model was made for other classes: it does not know 'wasp'"):
        _run(ws)


def test_damaged_test_image_keeps_the_former_report(workspace: Callable[..., Workspace]) -> None:
    ws = workspace()
    _run(ws)
    before = (ws.evaluation / "report.html").read_bytes(), (ws.scores / "metrics.json").read_bytes()
    test = pd.read_parquet(ws.splits).query("split == 'test'")["path"].iloc[-1]
    (ws.raw / test).write_bytes(b"no image")
    with pytest.raises(DataError) as refused:
        _run(ws)
    assert refused.value.where == str(ws.raw / test)
    assert ((ws.evaluation / "report.html").read_bytes(), (ws.scores / "metrics.json").read_bytes()) == before
    assert sorted(path.name for path in ws.evaluation.parent.iterdir()) == ["control", "evaluation", "scores"]


def test_images_left_out_are_counted(workspace: Callable[..., Workspace]) -> None:
    ws = workspace()
    paths = [*pd.read_parquet(ws.splits)["path"], "ant/broken.png"]
    pd.DataFrame({"path": paths}).to_parquet(ws.manifest)
    _run(ws)
    assert "<dt>Left out</dt><dd>1</dd>" in (ws.evaluation / "report.html").read_text()


@pytest.mark.parametrize("stage", ["score", "evaluate"])
def test_as_a_command_it_fails_with_one_message(workspace_with: Callable[..., Path], stage: str) -> None:
    root = workspace_with()
    done = subprocess.run(
        [sys.executable, "-m", f"graft.pipeline.{stage}"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: there is no model here") and "Traceback" not in done.stderr


def test_slices_and_doubted_labels_come_from_what_other_stages_left(workspace: Callable[..., Workspace]) -> None:
    ws = workspace()
    splits = pd.read_parquet(ws.splits)
    facts = splits[["path", "label"]].assign(source=splits["path"], brightness=np.linspace(0, 1, len(splits)), room="a")
    facts.loc[::2, "room"] = "b"
    # Rows in another order, and one image that the splits left out.
    pd.concat([facts, facts.tail(1).assign(path="none.png")]).iloc[::-1].to_parquet(ws.manifest)
    train = splits[splits["split"] == "train"].reset_index(drop=True)
    said = pd.DataFrame(-3.0, index=train.index, columns=[f"logit:{name}" for name in CLASSES])
    for row, label in enumerate(train["label"]):
        said.loc[row, f"logit:{'wasp' if row == 0 else label}"] = 0.0
    ws.selection.mkdir(parents=True)
    rows = train[["path", "label", "fold"]].assign(strategy="extract")
    pd.concat([rows, said], axis=1).to_parquet(ws.selection / "out_of_fold.parquet")
    _run(ws)
    doubted = pd.read_csv(ws.evaluation / "suspects.csv")
    assert doubted[["path", "label", "suggested"]].values.tolist() == [[train["path"][0], "ant", "wasp"]]
    slices = pd.read_csv(ws.evaluation / "slices.csv")
    assert slices.groupby("fact")["n"].sum().to_dict() == {"brightness": 12, "room": 12}
    page = (ws.evaluation / "report.html").read_text(encoding="utf-8")
    assert "1 label is doubted" in page and f'aria-label="Training sample {train["path"][0]}"' in page
    assert "Where the model looked in" in page or "no place spoke for it" in page


def test_the_metrics_of_dvc_are_few_figures_and_no_words(workspace: Callable[..., Workspace]) -> None:
    ws = workspace()
    found = _run(ws)
    graph = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    assert graph["metrics"] == ["reports/evaluation/headline.json", "reports/gate/metrics.json"]
    told = json.loads((ws.root / graph["metrics"][0]).read_text(encoding="utf-8"))
    assert len(told) <= 12
    assert all(value is None or isinstance(value, int | float) for value in told.values())
    assert {name: told[name] for name in ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "n_test")} == {
        name: found[name] for name in ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "n_test")
    }
    assert told["gain_over_majority"] == found["majority"]["difference"] and told["gain_by_transfer"] is None


def _dvc(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _git(folder: Path, *command: str) -> None:
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "core.hooksPath=/dev/null")
    subprocess.run(["git", *who, *command], cwd=folder, check=True, capture_output=True)


@pytest.mark.slow
def test_dvc_compares_two_evaluations_in_figures_and_in_pictures_without_a_network(
    workspace: Callable[..., Workspace],
) -> None:
    ws = workspace()
    _save(ws.controls / "scratch", 1)
    graph = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    part = {"metrics": ["reports/evaluation/headline.json"], "plots": graph["plots"]}
    part["stages"] = {"evaluate": {"cmd": "true", "outs": [{"reports/evaluation": {"persist": True}}]}}
    (ws.root / "dvc.yaml").write_text(json.dumps(part), encoding="utf-8")
    for path, colour in ((ws.selection / "scores.svg", "red"), (ws.training / "curves.svg", "blue")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg"><path fill="{colour}" d="M0 0h9v9"/></svg>')
    (ws.root / ".gitignore").write_text((ROOT / ".gitignore").read_text(encoding="utf-8"), encoding="utf-8")
    _git(ws.root, "init", "-q")
    _dvc(ws.root, "init", "-q")
    _git(ws.root, "add", "reports/selection", "reports/training")
    for seed in (0, 5):
        _save(ws.finetuned, seed)
        _run(ws)
        _dvc(ws.root, "commit", "--force", "-q")
        _git(ws.root, "add", ".")
        _git(ws.root, "commit", "-q", "-m", f"Train with seed {seed}")
    changes = json.loads(_dvc(ws.root, "metrics", "diff", "HEAD~1", "HEAD", "--json"))
    assert set(changes) == {"reports/evaluation/headline.json"}
    _dvc(ws.root, "plots", "diff", "HEAD~1", "HEAD")
    page = (ws.root / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    assert "http" not in page and "<script" not in page
    shown = {path.name for path in (ws.root / "dvc_plots" / "static").iterdir()}
    for name in ("confusion", "reliability", "coverage"):
        both = [file for file in shown if f"plots_{name}.svg" in file]
        assert len(both) == 2 and all(file in page for file in both)
    unknown = subprocess.run(
        ["git", "status", "--porcelain"], cwd=ws.root, capture_output=True, text=True, check=True
    ).stdout
    assert "dvc_plots" not in unknown
