"""The table of out-of-fold logits: what is written is read, and one of other images is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from graft.core.errors import DataError
from graft.evaluation.explain.label_issues import read_out_of_fold
from graft.selection.inputs import TrainSet
from graft.selection.out_of_fold import out_of_fold_table, read_logits


def test_what_is_written_is_read_to_the_bit(task: TrainSet, tmp_path: Path) -> None:
    logits = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
    table = out_of_fold_table(logits, task)
    assert list(table.columns) == ["path", "label", "fold", "logit:red", "logit:green", "logit:blue"]
    assert table["path"].tolist() == list(task.images.paths)
    assert table["label"].tolist()[:3] == ["red", "green", "blue"]
    assert table["fold"].tolist() == task.folds.tolist()
    table.to_parquet(tmp_path / "a.parquet", index=False)
    assert np.array_equal(read_logits(tmp_path / "a.parquet", task), logits)
    read = read_out_of_fold(tmp_path / "a.parquet")
    assert read is not None and read.classes == task.classes and np.array_equal(read.labels, task.labels)
    powers = np.exp(logits.astype(np.float64))
    np.testing.assert_allclose(read.probabilities, powers / powers.sum(axis=1, keepdims=True), rtol=1e-12)


def test_a_table_of_other_images_is_refused(task: TrainSet, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    out_of_fold_table(np.zeros((24, 3), np.float32), task).to_parquet(path, index=False)
    images = dataclasses.replace(task.images, paths=("other.png", *task.images.paths[1:]))
    with pytest.raises(DataError) as caught:
        read_logits(path, dataclasses.replace(task, images=images))
    error = caught.value
    assert error.what == "this table is of other training images"
    assert (str(error.where), error.remedy) == (str(path), "run `.venv/bin/dvc repro`")
