"""The paired verdict against McNemar's formula, and where there is nothing to test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.errors import WeightsError
from graft.evaluate.intervals import Resampling
from graft.evaluate.paired import compare_pair, mcnemar, refuse_other_classes

from .conftest import named_rightly, sure_of


def _planted(both: int, first: int, second: int) -> tuple[np.ndarray, np.ndarray]:
    """Who is right: on ``both``, on ``first`` the first alone, on ``second`` the second alone."""
    return (
        np.array([True] * (both + first) + [False] * second),
        np.array([True] * both + [False] * first + [True] * second),
    )


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 5))
def test_p_is_that_of_the_formula(b: int, c: int, both: int) -> None:
    first, second = _planted(both, b, c)
    found = mcnemar(first, second, np.arange(len(first)))
    assert (found.first_only, found.second_only) == (b, c)
    if b + c == 0:
        assert found.p_value is None and found.reason
        return
    tail = sum(math.comb(b + c, i) for i in range(min(b, c) + 1)) / 2 ** (b + c)
    assert found.p_value == pytest.approx(min(1.0, 2 * tail), rel=1e-9)


def test_a_group_counts_once() -> None:
    first, second = _planted(0, 8, 0)
    assert mcnemar(first, second, np.zeros(8, dtype=np.intp)).p_value == 1.0
    assert mcnemar(first, second, np.arange(8)).p_value == pytest.approx(2 / 2**8)


@pytest.mark.parametrize(
    ("first", "second", "better"),
    [
        (30, 5, "first"),
        (5, 30, "second"),
        (10, 12, "undecided"),
        (5, 0, "undecided"),
        (6, 0, "first"),
        (0, 0, "undecided"),
    ],
)
def test_verdict(first: int, second: int, better: str) -> None:
    right, other = _planted(60, first, second)
    labels = np.zeros(len(right), dtype=np.intp)
    sides = [sure_of(named_rightly(labels, who, 2), 2) for who in (right, other)]
    found = compare_pair(labels, *sides, Resampling(np.arange(len(labels)), 500, 0))
    assert found.better == better
    assert found.difference == pytest.approx((first - second) / len(labels))
    assert found.interval.low <= found.difference <= found.interval.high


def test_models_of_other_classes_are_refused_by_name() -> None:
    refuse_other_classes(("a", "b"), ("b", "a"), ("one", "two"))
    with pytest.raises(WeightsError) as refused:
        refuse_other_classes(("a", "b"), ("b", "c", "d"), ("one", "two"))
    assert refused.value.what == ("the two models know different classes: only one knows 'a'; only two knows 'c', 'd'")
