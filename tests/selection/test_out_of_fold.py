"""The table of out-of-fold logits: what is written is read by strategy, and one of other images is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from graft.core.errors import DataError
from graft.evaluation.explain.label_issues import read_out_of_fold
from graft.selection.inputs import TrainSet
from graft.selection.out_of_fold import out_of_fold_table, read_logits


def planted(task: TrainSet, unknown: int | None = None, seed: int = 0) -> np.ndarray:
    """Logits (24, 3), NaN in a fold that nothing was trained without."""
    logits = np.random.default_rng(seed).normal(size=(24, 3)).astype(np.float32)
    logits[task.folds == unknown] = np.nan
    return logits


def test_what_is_written_is_read_to_the_bit(task: TrainSet, tmp_path: Path) -> None:
    logits = planted(task)
    table = out_of_fold_table({"finetune": logits}, task)
    assert list(table.columns) == ["path", "label", "fold", "strategy", "logit:red", "logit:green", "logit:blue"]
    assert table["path"].tolist() == list(task.images.paths)
    assert table["label"].tolist()[:3] == ["red", "green", "blue"]
    assert table["fold"].tolist() == task.folds.tolist() and set(table["strategy"]) == {"finetune"}
    table.to_parquet(tmp_path / "a.parquet", index=False)
    read, places = read_logits(tmp_path / "a.parquet", task, "finetune")
    assert np.array_equal(read, logits) and places.tolist() == list(range(24))
    known = read_out_of_fold(tmp_path / "a.parquet", "finetune")
    assert known is not None and known.classes == task.classes and np.array_equal(known.labels, task.labels)
    powers = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(known.probabilities, powers / powers.sum(axis=1, keepdims=True), rtol=1e-12)


def test_each_strategy_has_its_own_rows_and_none_where_it_was_not_trained_without_the_fold(
    task: TrainSet, tmp_path: Path
) -> None:
    head, tuned = planted(task), planted(task, unknown=1, seed=1)
    table = out_of_fold_table({"extract": head, "finetune": tuned}, task)
    assert table.groupby(["strategy", "fold"]).size().to_dict() == {
        ("extract", 0): 12,
        ("extract", 1): 12,
        ("finetune", 0): 12,
    }
    table.sample(frac=1, random_state=0).to_parquet(tmp_path / "a.parquet", index=False)
    for strategy, logits in (("extract", head), ("finetune", tuned)):
        read, places = read_logits(tmp_path / "a.parquet", task, strategy)
        assert np.array_equal(read, logits[places]) and not np.isnan(read).any()
        assert sorted(places) == np.flatnonzero(~np.isnan(logits).any(axis=1)).tolist()


def test_a_label_is_doubted_by_the_delivered_strategy_and_where_it_says_nothing_by_the_head(
    task: TrainSet, tmp_path: Path
) -> None:
    head, mean, tuned = planted(task), planted(task, seed=2), planted(task, unknown=1, seed=1)
    outputs = {"extract": head, "wise_ft": mean, "finetune": tuned}
    out_of_fold_table(outputs, task).to_parquet(tmp_path / "a.parquet", index=False)
    known = read_out_of_fold(tmp_path / "a.parquet", "finetune")
    assert known is not None and known.paths == task.images.paths, "each image once"
    expected = np.where(np.isnan(tuned), head, tuned).argmax(axis=1)
    assert np.array_equal(known.probabilities.argmax(axis=1), expected)


def refused(path: Path, data: TrainSet, strategy: str = "finetune") -> DataError:
    with pytest.raises(DataError) as caught:
        read_logits(path, data, strategy)
    return caught.value


def test_a_table_of_other_images_is_refused(task: TrainSet, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    out_of_fold_table({"finetune": planted(task)}, task).to_parquet(path, index=False)
    images = dataclasses.replace(task.images, paths=("other.png", *task.images.paths[1:]))
    error = refused(path, dataclasses.replace(task, images=images))
    assert error.what == "this table is of other training images, or says nothing of 'finetune'"
    assert (str(error.where), error.remedy) == (str(path), "run `.venv/bin/dvc repro`")
    assert "says nothing of 'extract'" in refused(path, task, "extract").what


def test_a_table_of_other_folds_is_refused(task: TrainSet, tmp_path: Path) -> None:
    """Its network would have been trained on images that are held out now."""
    path = tmp_path / "a.parquet"
    out_of_fold_table({"finetune": planted(task)}, task).to_parquet(path, index=False)
    refused(path, dataclasses.replace(task, folds=1 - task.folds))


@pytest.mark.parametrize("unknown", [None, 1])
def test_a_table_that_lacks_an_image_of_a_fold_is_refused(task: TrainSet, tmp_path: Path, unknown: int | None) -> None:
    path = tmp_path / "a.parquet"
    table = out_of_fold_table({"finetune": planted(task, unknown)}, task)
    pd.DataFrame(table.iloc[1:]).to_parquet(path, index=False)
    refused(path, task)
