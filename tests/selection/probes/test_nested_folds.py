"""Folds within folds: groups stay on one side, and nothing held out is fitted to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.core.errors import TrainingError
from graft.selection.probes.nested_folds import nested_folds


def _grouped(seed: int, folds: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, folds and groups of 60 images: groups of up to three, each of one label and in one fold."""
    random = np.random.default_rng(seed)
    groups = np.sort(random.integers(0, 30, 60))
    labels, where = random.integers(0, 3, 30), np.arange(30) % folds
    return labels[groups], where[groups], groups


@given(seed=st.integers(0, 1000), folds=st.integers(2, 6))
def test_groups_never_straddle_inner_folds(seed: int, folds: int) -> None:
    labels, where, groups = _grouped(seed, folds)
    nested = nested_folds(labels, where, seed, groups)
    for number in range(folds):
        outer = nested.rows(nested.outer[number])
        assert np.array_equal(outer, where == number)
        covered = np.zeros(60, dtype=int)
        for part in nested.inner(number):
            inner = nested.rows(part)
            covered += inner
            fitted = ~inner & ~outer
            assert fitted.any()
            assert not set(groups[inner]) & set(groups[fitted])
            assert not set(groups[outer]) & set(groups[inner])
        assert np.array_equal(covered == 1, ~outer)
        assert covered.max() == 1


def test_two_folds_are_cut_class_by_class_and_by_the_seed() -> None:
    labels, folds = np.arange(60) % 2, np.arange(60) // 2 % 2
    one, other = nested_folds(labels, folds, 0), nested_folds(labels, folds, 1)
    assert not np.array_equal(one.cells, other.cells)
    assert np.array_equal(one.cells, nested_folds(labels, folds, 0).cells)
    for cell in range(6):
        assert np.bincount(labels[one.cells == cell]).tolist() == [5, 5]


def test_what_cannot_be_nested_is_refused() -> None:
    labels = np.arange(6) % 2
    with pytest.raises(TrainingError, match="lie in one fold") as caught:
        nested_folds(labels, np.zeros(6, dtype=np.int64), 0)
    assert caught.value.remedy == "set select.folds to 3 or more, or add images"
    with pytest.raises(TrainingError, match="single group of images and cannot be cut"):
        nested_folds(labels, np.array([0, 0, 0, 1, 1, 1]), 0, np.array([0, 1, 2, 3, 3, 3]))
