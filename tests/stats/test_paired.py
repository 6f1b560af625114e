"""The one rule for two models: McNemar's formula, the interval that belongs to it, and what groups count."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.core.errors import WeightsError
from graft.stats.paired import PairedTest, compare_pair, refuse_other_classes


def planted(first: int, second: int, n: int) -> PairedTest:
    """The finding on ``n`` images, of which ``first`` and ``second`` are named rightly by one model alone."""
    place = np.arange(n)
    right, other = place >= second, (place < second) | (place >= first + second)
    return compare_pair(right, other, place)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 5))
def test_p_is_that_of_the_formula(b: int, c: int, both: int) -> None:
    found = planted(b, c, max(1, b + c + both))
    assert (found.first_only, found.second_only) == (b, c)
    if b + c == 0:
        assert found.p_value is None
        assert found.reason == "there is no image on which only one of them is right, so there is nothing to test"
        return
    tail = sum(math.comb(b + c, i) for i in range(min(b, c) + 1)) / 2 ** (b + c)
    assert found.p_value == pytest.approx(min(1.0, 2 * tail), rel=1e-9)


@given(st.lists(st.sampled_from((-1, 0, 1)), min_size=1, max_size=80), st.integers(1, 80), st.booleans())
def test_interval_and_test_never_contradict_each_other(net: list[int], groups: int, weighted: bool) -> None:
    first, second = np.array(net) >= 0, np.array(net) <= 0
    units = np.unique(np.arange(len(net)) % groups, return_inverse=True)[1]
    weights = np.linspace(0.5, 1.5, len(net)) if weighted else None
    found = compare_pair(first, second, units, weights)
    assert -1 <= found.interval.low <= found.difference <= found.interval.high <= 1
    assert (found.better == "undecided") == (found.p_value is None or found.p_value >= 0.05)
    assert (found.better == "undecided") == (found.interval.low <= 0 <= found.interval.high)
    exchanged = compare_pair(second, first, units, weights)
    assert exchanged.interval.pair() == pytest.approx([-found.interval.high, -found.interval.low], abs=1e-9)


@pytest.mark.parametrize(
    ("first", "second", "p", "better"),
    [
        (7, 1, 0.0703125, "undecided"),
        (9, 2, 0.0654296875, "undecided"),
        (10, 3, 0.09228515625, "undecided"),
        (12, 4, 0.076812744140625, "undecided"),
        (1, 7, 0.0703125, "undecided"),
        (8, 1, 0.0390625, "first"),
        (1, 8, 0.0390625, "second"),
        (5, 0, 0.0625, "undecided"),
        (6, 0, 0.03125, "first"),
        (0, 0, None, "undecided"),
    ],
)
def test_of_a_hundred_images(first: int, second: int, p: float | None, better: str) -> None:
    found = planted(first, second, 100)
    assert (found.p_value, found.better) == (p, better)
    assert found.difference == pytest.approx((first - second) / 100)


@pytest.mark.parametrize(("first", "second", "n"), [(7, 1, 100), (14, 4, 100), (0, 0, 50), (6, 0, 6), (40, 60, 1000)])
def test_the_interval_is_that_of_the_melded_distributions(first: int, second: int, n: int) -> None:
    # Fay and Lumbard 2021, by drawing instead of by quantiles.
    random, m, many = np.random.default_rng(0), first + second, 1_000_000

    def lower(b: int, c: int) -> float:
        share = random.beta(b, c + 1, many) if b else np.zeros(many)
        most = random.beta(m + 1, n - m, many) if n > m else np.ones(many)
        least = random.beta(m, n - m + 1, many) if m else np.zeros(many)
        return min(float(np.quantile(part * (2 * share - 1), 0.025)) for part in (least, most))

    expected = [lower(first, second), -lower(second, first)]
    assert planted(first, second, n).interval.pair() == pytest.approx(expected, abs=0.003)


def test_the_interval_covers_what_it_shall() -> None:
    random = np.random.default_rng(0)

    def one(groups: int) -> bool:
        # Images of a group are mostly right and wrong together.
        units = np.repeat(np.arange(60), random.integers(1, groups + 1, 60))
        luck = np.where(random.random(len(units)) < 0.7, random.random(60)[units], random.random(len(units)))
        found = compare_pair(luck < 0.2, (luck >= 0.2) & (luck < 0.3), units)
        return found.interval.low <= 0.1 <= found.interval.high

    for groups in (1, 8):
        assert sum(one(groups) for _ in range(200)) >= 188


def test_a_group_counts_once() -> None:
    first, second = np.ones(8, dtype=bool), np.zeros(8, dtype=bool)
    assert compare_pair(first, second, np.zeros(8, dtype=np.intp)).p_value == 1.0
    assert compare_pair(first, second, np.arange(8)).p_value == pytest.approx(2 / 2**8)


def test_many_small_groups_do_not_outvote_a_large_one_that_the_difference_comes_from() -> None:
    # Six images speak for the first model, and twenty of one group for the second.
    units = np.concatenate([np.arange(6), np.full(20, 6), np.arange(7, 81)])
    place = np.arange(len(units))
    found = compare_pair((place < 6) | (place >= 26), place >= 6, units)
    assert (found.first_only, found.second_only, found.better) == (6, 1, "undecided")
    assert found.difference == pytest.approx(-14 / 100)


def test_models_of_other_classes_are_refused_by_name() -> None:
    refuse_other_classes(("a", "b"), ("b", "a"), ("one", "two"))
    with pytest.raises(WeightsError) as refused:
        refuse_other_classes(("a", "b"), ("b", "c", "d"), ("one", "two"))
    assert refused.value.what == ("the two models know different classes: only one knows 'a'; only two knows 'c', 'd'")
