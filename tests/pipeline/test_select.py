"""The select stage in a workspace: what it writes, and that the same seed gives the same bytes where others depend."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from graft.core.config import load_params
from graft.core.errors import DataError
from graft.core.settings import Candidate
from graft.core.workspace import Workspace
from graft.pipeline import ingest, select, split, validate

SMALL = {"arch": "shufflenet_v2_x0_5", "weights": "none", "size": 32}
FILES = [
    "agreement.json",
    "depths.svg",
    "evidence.json",
    "latency.svg",
    "leaderboard.csv",
    "network.json",
    "out_of_fold.parquet",
    "scores.svg",
]


@pytest.fixture
def selected(workspace_with: Callable[..., Path], make_classes: Callable[..., Path]) -> Workspace:
    source = make_classes({"ant": 12, "bee": 12})
    workspace_with(
        data={"source": str(source)},
        zoo={"candidates": [SMALL, {**SMALL, "depth": 1}, {**SMALL, "depth": 99}]},
        select={"folds": 2, "finalists": 1},
        train={"epochs": 1},
        augment={"policy": "none", "domain": "any"},
    )
    for stage in (ingest, validate, split, select):
        stage.run(load_params(Path("params.yaml")), Workspace())
    return Workspace()


def test_everything_is_written_and_what_others_depend_on_repeats(selected: Workspace) -> None:
    folder = selected.selection
    assert sorted(path.name for path in folder.iterdir()) == sorted([*FILES, "similarity.json", "winner.json"])
    winner = json.loads((folder / "winner.json").read_text())
    assert set(winner) == {
        *asdict(Candidate("resnet18")),
        *("blocks", "metric", "cv_scores", "trained", "probe", "weights_sha256"),
    }, "no time is in it"
    network = json.loads((folder / "network.json").read_text())
    assert network == {name: winner[name] for name in (*asdict(Candidate("resnet18")), "blocks")}, "nor scores in this"
    assert isinstance(winner["depth"], int)
    rows = pd.read_csv(folder / "leaderboard.csv", keep_default_na=False, na_values=[""])
    assert rows["kind"].tolist() == ["candidate"] * 3 + ["control"] * 2
    assert rows["why"][0].startswith("chosen") and rows["why"][2].startswith("failed probing: there is no block 99")
    assert rows.loc[:1, ["latency_ms", "images_per_s", "memory_mb", "knn", "logme", "seconds"]].notna().all(axis=None)
    before = {name: (folder / name).read_bytes() for name in ("winner.json", "agreement.json", "out_of_fold.parquet")}
    select.run(load_params(Path("params.yaml")), selected)
    assert before == {name: (folder / name).read_bytes() for name in before}


def test_out_of_fold_predictions_are_those_that_were_scored(selected: Workspace) -> None:
    """A row per training image, each with its fold of splits.parquet; their accuracy is the winner's."""
    found = pd.read_parquet(selected.selection / "out_of_fold.parquet")
    assert list(found.columns) == ["path", "label", "fold", "strategy", "logit:ant", "logit:bee"]
    splits = pd.read_parquet(selected.splits)
    train = splits[splits["split"] == "train"].sort_values("path", ignore_index=True)
    assert found[["path", "label", "fold"]].equals(train[["path", "label", "fold"]])
    assert np.isfinite(found[["logit:ant", "logit:bee"]]).all(axis=None)
    said = found[["logit:ant", "logit:bee"]].idxmax(axis=1).str.removeprefix("logit:")
    scores = (said == found["label"]).groupby(found["fold"]).mean()
    winner = json.loads((selected.selection / "winner.json").read_text())
    assert scores.tolist() == pytest.approx(winner["cv_scores"])
    assert winner["trained"] == {"scratch": pytest.approx(winner["cv_scores"])}, "there are no weights to transfer"


def test_log_loss_steers_and_is_named_wherever_a_score_is(
    selected: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    params = dataclasses.replace(load_params(Path("params.yaml")), metric="log_loss")
    select.run(params, selected)
    said = capsys.readouterr().out
    assert "linear probe log loss" in said and "from scratch: log loss" in said and "accuracy" not in said
    rows = pd.read_csv(selected.selection / "leaderboard.csv", keep_default_na=False, na_values=[""])
    assert set(rows["metric"]) == {"log_loss"} and (rows["score"].dropna() > 0).all()
    found = pd.read_parquet(selected.selection / "out_of_fold.parquet")
    said = softmax(found[["logit:ant", "logit:bee"]].to_numpy(np.float64), axis=1)
    own = np.where(found["label"] == "ant", said[:, 0], said[:, 1])
    winner = json.loads((selected.selection / "winner.json").read_text())
    losses = pd.Series(-np.log(np.maximum(own, np.finfo(float).eps))).groupby(found["fold"]).mean()
    assert losses.tolist() == pytest.approx(winner["cv_scores"]) and winner["metric"] == "log_loss"
    assert winner["probe"]["mean"] > 0 and min(winner["probe"]["curve"]) > 0, "as people read the metric"


def test_a_limit_that_nothing_keeps_leaves_the_former_selection(selected: Workspace) -> None:
    from graft.core.errors import ConfigError

    before = (selected.selection / "leaderboard.csv").read_bytes()
    params = load_params(Path("params.yaml"))
    tight = type(params.select)(folds=2, finalists=1, max_params_m=0.001)
    with pytest.raises(ConfigError, match="no candidate fits the limits"):
        select.run(dataclasses.replace(params, select=tight), selected)
    assert (selected.selection / "leaderboard.csv").read_bytes() == before


def test_fewer_images_in_a_class_than_folds_is_refused_before(
    workspace_with: Callable[..., Path], make_classes: Callable[..., Path]
) -> None:
    workspace_with(data={"source": str(make_classes({"ant": 30, "bee": 5}))}, select={"folds": 6})
    params = load_params(Path("params.yaml"))
    for stage in (ingest, validate):
        stage.run(params, Workspace())
    with pytest.raises(DataError, match=r"class 'bee' has \d training images?.* fewer than the 6 folds"):
        split.run(params, Workspace())
