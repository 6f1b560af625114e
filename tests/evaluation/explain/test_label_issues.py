"""Flipped labels are found, true ones are left alone, and a damaged or missing table is said to be so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from graft.core.errors import DataError
from graft.evaluation.explain.label_issues import (
    OutOfFoldProbabilities,
    find_issues,
    label_issues_table,
    read_out_of_fold,
)

CLASSES = ("ant", "bee", "logit:wasp")


def _planted(n: int = 300, flipped: int = 12, seed: int = 0) -> tuple[OutOfFoldProbabilities, set[str]]:
    """A model that is right on nine of ten and sure of it, and ``flipped`` labels that are another class's."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    said = np.where(rng.random(n) < 0.95, truth, rng.integers(0, 3, n))
    strength = np.where(said == truth, 6.0, 1.0)[:, None] * np.eye(3)[said] + rng.normal(0, 0.5, (n, 3))
    probabilities = np.exp(strength) / np.exp(strength).sum(axis=1, keepdims=True)
    wrong = rng.choice(n, flipped, replace=False)
    labels = truth.copy()
    labels[wrong] = (truth[wrong] + 1) % 3
    paths = tuple(f"{i:03d}.png" for i in range(n))
    return OutOfFoldProbabilities(paths, CLASSES, labels, probabilities), {paths[i] for i in wrong}


def _write(known: OutOfFoldProbabilities, path: Path) -> pd.DataFrame:
    names = np.array(known.classes, dtype=object)
    head = pd.DataFrame({"path": known.paths, "label": names[known.labels], "fold": 0, "strategy": "extract"})
    # Logits are probabilities' logarithms but for a number that is the same for a row: here 3.
    logits = pd.DataFrame(np.log(known.probabilities) + 3, columns=[f"logit:{c}" for c in known.classes])
    table = pd.concat([head, logits], axis=1)
    table.to_parquet(path)
    return table


@pytest.mark.parametrize("seed", range(5))
def test_flipped_labels_are_found(tmp_path: Path, seed: int) -> None:
    known, flipped = _planted(seed=seed)
    _write(known, tmp_path / "out_of_fold.parquet")
    read = read_out_of_fold(tmp_path / "out_of_fold.parquet", "finetune")
    assert read is not None and read.classes == CLASSES
    np.testing.assert_allclose(read.probabilities, known.probabilities, rtol=1e-9)
    suspects = find_issues(read)
    found = {item.path for item in suspects.found}
    assert len(found & flipped) >= 10 and len(found - flipped) <= 8
    assert suspects.judged == 300 and suspects.reason == ""
    assert all(item.given != item.suggested for item in suspects.found)
    confidences = [item.given_confidence for item in suspects.found]
    assert confidences == sorted(confidences)
    assert label_issues_table(suspects)["path"].tolist() == [item.path for item in suspects.found]


def test_true_labels_are_left_alone() -> None:
    known, _ = _planted(flipped=0)
    assert len(find_issues(known).found) <= 6


def test_where_nothing_can_be_judged_it_says_why(tmp_path: Path) -> None:
    assert read_out_of_fold(tmp_path / "none.parquet", "finetune") is None
    assert "no out-of-fold probabilities" in find_issues(None).reason
    one = OutOfFoldProbabilities(("a.png",), CLASSES, np.zeros(1, dtype=np.intp), np.array([[0.2, 0.5, 0.3]]))
    assert find_issues(one).reason == "there are training images of one class only"
    assert label_issues_table(find_issues(None)).columns.tolist() == [
        "path", "label", "suggested", "label_confidence", "suggested_confidence",
    ]  # fmt: skip


def test_a_class_without_training_images_does_no_harm() -> None:
    known, _ = _planted()
    kept = known.labels != 2
    few = OutOfFoldProbabilities(
        tuple(np.array(known.paths)[kept]), CLASSES, known.labels[kept], known.probabilities[kept]
    )
    assert find_issues(few).judged == kept.sum()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda table: table.drop(columns="label"), "it has no column path, label or strategy, or no logit"),
        (lambda table: table.drop(columns="strategy"), "it has no column path, label or strategy, or no logit"),
        (
            lambda table: table.drop(columns="logit:bee"),
            "it has no column path, label or strategy, or no logit",
        ),
        (lambda table: table.assign(**{"logit:bee": np.inf}), "a logit is not finite"),
        (lambda table: table.assign(**{"logit:bee": np.nan}), "a logit is not finite"),
    ],
    ids=["no label", "no strategy", "no column of a class", "infinite", "nothing"],
)
def test_a_damaged_table_is_refused(tmp_path: Path, change: object, what: str) -> None:
    path = tmp_path / "out_of_fold.parquet"
    table = _write(_planted()[0], path)
    change(table).to_parquet(path)  # type: ignore[operator]
    with pytest.raises(DataError, match=what) as caught:
        read_out_of_fold(path, "extract")
    assert str(path) in str(caught.value) and "run the select stage again" in str(caught.value)
